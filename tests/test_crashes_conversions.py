"""A conversion forward and back by real workers that are killed, while two releases write."""

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
from tests.support.deadly_actions import actions_of, deaths_in, make_deadly, take_halts_away
from tests.support.dying_workers import md5_key, released
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import manage_process, stopped_after
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

ROWS = 4_000
PRICED = table(
    "priced", key=("id",), id=r.Column("uuid", null=False), price=r.Column("text", null=False)
)
CENTS = plan_of(
    r.Convert(
        table=PRICED,
        legacy=("price",),
        columns={"price_cents": r.Column("bigint")},
        forward={"price_cents": "round({price}::numeric * 100)"},
        backward={"price": "to_char({price_cents} / 100.0, 'FM9999990.00')"},
    ),
    name="priced-in-cents",
)
TABLE = f"""
CREATE TABLE priced (id uuid PRIMARY KEY, price text NOT NULL);
INSERT INTO priced SELECT md5(g::text)::uuid, ' ' || (g / 4.0) FROM generate_series(1, {ROWS}) g;
"""
PRICES = "SELECT jsonb_object_agg(id, price) FROM priced"


OLD = "UPDATE priced SET price = (%(value)s / 100.0)::text WHERE id = md5(%(key)s::text)::uuid"
NEW = "UPDATE priced SET price_cents = %(value)s WHERE id = md5(%(key)s::text)::uuid"


def test_no_write_is_lost_where_workers_are_killed_in_each_action_of_a_conversion_and_back(
    committed_db: Database, own_plans: None, tmp_path: Path
) -> None:
    plans.register(CENTS)
    rollouts.execute(TABLE)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.CENTS")
    rollout = rollouts.the_rollout(CENTS.name)
    before, schema = rollouts.ask(PRICES), schema_lines(committed_db.url)
    forward, back = partial(rollouts.start, rollout), partial(runner.roll_back, rollout, actor=ADA)
    deadly = actions_of(CENTS)
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")):
        wait_for(forward(0), RunState.DONE)
        make_deadly(deadly)
        old = released(OLD, range(1, 21))
        died = deaths_in(lambda: forward(1)) + deaths_in(lambda: forward(2))
        new = released(NEW, range(21, 41))
        died += deaths_in(lambda: forward(3))
        expected = old.retire()
        died += deaths_in(lambda: forward(4))
        died += deaths_in(lambda: back(4))
        last = released(OLD, range(41, 61))
        died += deaths_in(lambda: back(3))
        expected |= new.retire()
        died += deaths_in(lambda: back(2)) + deaths_in(lambda: back(1))
        wait_for(back(0), RunState.DONE)
        expected |= last.retire()
    assert died == deadly
    take_halts_away()
    after = rollouts.ask(PRICES)
    keys = {key: md5_key(key) for key in expected}
    assert {key: round(float(after[keys[key]]) * 100) for key in expected} == expected
    untouched = before.keys() - set(keys.values())
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert schema_lines(committed_db.url) == schema
    assert LogEntry.objects.filter(event="brought back").count() == len(died)
    assert activity_log.verify().broken is None
