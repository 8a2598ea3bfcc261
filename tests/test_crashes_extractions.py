"""An extraction forward and back by real workers that are killed, while two releases write."""

from functools import partial
from pathlib import Path

import pytest

from rollout import plan as r
from rollout import runner
from rollout.journal import activity_log
from rollout.models import LogEntry, RunState
from rollout.plan import plans
from tests.engine.test_every_phase import schema_lines
from tests.schemas import plan_of, table
from tests.support import rollouts
from tests.support.deadly_actions import (
    HALTS_AT_ROWS,
    actions_of,
    deaths_in,
    make_deadly,
    take_halts_away,
)
from tests.support.dying_workers import md5_key, released
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import manage_process, stopped_after
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

ROWS = 4_000
# Home g is one of agent g % AGENTS, so that each has ten.
AGENTS = 400
HOMES = table(
    "lived", key=("id",), id=r.Column("uuid", null=False), agent="text", phone="text", email="text"
)
LIVED_AGENTS = plan_of(
    r.Extract(
        table=HOMES,
        legacy=("agent", "phone", "email"),
        into="lived_agent",
        column="agent_id",
        key=("email",),
        conflicts="most_frequent",
        id_type="bigint",
    ),
    name="lived-agents",
)
TABLE = f"""
CREATE TABLE lived (id uuid PRIMARY KEY, agent text, phone text, email text);
INSERT INTO lived SELECT md5(g::text)::uuid, 'Agent ' || g % {AGENTS},
    '0' || g % {AGENTS} || CASE WHEN g < 100 THEN ' or so' ELSE '' END, g % {AGENTS} || '@x.test'
  FROM generate_series(1, {ROWS}) g;
"""
ROWS_OF = "SELECT jsonb_object_agg(id, jsonb_build_array(agent, phone, email)) FROM lived"
OLD = "UPDATE lived SET phone = %(value)s::text WHERE id = md5(%(key)s::text)::uuid"
NEW = """UPDATE lived_agent SET phone = %(value)s::text
 WHERE id = (SELECT agent_id FROM lived WHERE id = md5(%(key)s::text)::uuid)"""


def test_no_write_is_lost_where_workers_are_killed_in_each_action_of_an_extraction_and_back(
    committed_db: Database, own_plans: None, tmp_path: Path
) -> None:
    plans.register(LIVED_AGENTS)
    rollouts.execute(TABLE)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.LIVED_AGENTS")
    rollout = rollouts.the_rollout(LIVED_AGENTS.name)
    before, schema = rollouts.ask(ROWS_OF), schema_lines(committed_db.url)
    forward, back = partial(rollouts.start, rollout), partial(runner.roll_back, rollout, actor=ADA)
    deadly = actions_of(LIVED_AGENTS)
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")):
        wait_for(forward(0), RunState.DONE)
        make_deadly(deadly)
        old = released(OLD, range(1, 21))
        died = deaths_in(lambda: forward(1))
        rollouts.execute(HALTS_AT_ROWS.format(table="lived_agent"))
        died += deaths_in(lambda: forward(2))
        new = released(NEW, range(21, 41))
        died += deaths_in(lambda: forward(3))
        of_old = old.retire()
        died += deaths_in(lambda: forward(4))
        died += deaths_in(lambda: back(4))
        last = released(OLD, range(41, 61))
        died += deaths_in(lambda: back(3))
        of_new = new.retire()
        died += deaths_in(lambda: back(2)) + deaths_in(lambda: back(1))
        wait_for(back(0), RunState.DONE)
        of_old |= last.retire()
    assert died == deadly
    take_halts_away()
    after = rollouts.ask(ROWS_OF)
    expected = dict(before)
    for number in range(1, ROWS + 1):
        # Who writes an agent writes all of its homes.
        value = of_old.get(number, of_new.get(number % AGENTS))
        if value is not None:
            key = md5_key(number)
            expected[key] = [before[key][0], str(value), before[key][2]]
    assert after == expected
    assert schema_lines(committed_db.url) == schema
    assert LogEntry.objects.filter(event="brought back").count() == len(died)
    assert activity_log.verify().broken is None
