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
from tests.support.dying_workers import SLOW, die_in_a_pass, die_in_a_statement, md5_key, released
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import Running, manage_process, stopped_after
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
{SLOW.format(table="priced", few=5)}
"""
PRICES = "SELECT jsonb_object_agg(id, price) FROM priced"


OLD = "UPDATE priced SET price = (%(value)s / 100.0)::text WHERE id = md5(%(key)s::text)::uuid"
NEW = "UPDATE priced SET price_cents = %(value)s WHERE id = md5(%(key)s::text)::uuid"


def test_no_write_is_lost_where_workers_die_in_a_conversion_and_in_its_rollback(
    committed_db: Database, watchdog: Running, own_plans: None, tmp_path: Path
) -> None:
    plans.register(CENTS)
    rollouts.execute(TABLE)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.CENTS")
    rollout = rollouts.the_rollout(CENTS.name)
    before, schema = rollouts.ask(PRICES), schema_lines(committed_db.url)
    forward, back = partial(rollouts.start, rollout), partial(runner.roll_back, rollout, actor=ADA)
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")):
        old = released(OLD, range(1, 21))
        wait_for(forward(0), RunState.DONE)
        die_in_a_statement(lambda: forward(1), "ALTER TABLE")
        die_in_a_pass(lambda: forward(2), "fill", rows=ROWS)
        new = released(NEW, range(21, 41))
        die_in_a_statement(lambda: forward(3), "CREATE TRIGGER")
        expected = old.retire()
        die_in_a_statement(lambda: forward(4), "CREATE TABLE AS")
        die_in_a_pass(lambda: back(4), "restore", rows=ROWS)
        last = released(OLD, range(41, 61))
        die_in_a_statement(lambda: back(3), "CREATE TRIGGER")
        expected |= new.retire()
        die_in_a_pass(lambda: back(2), "clear", rows=ROWS)
        for phase in (1, 0):
            wait_for(back(phase), RunState.DONE)
        expected |= last.retire()
    after = rollouts.ask(PRICES)
    keys = {key: md5_key(key) for key in expected}
    assert {key: round(float(after[keys[key]]) * 100) for key in expected} == expected
    untouched = before.keys() - set(keys.values())
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert schema_lines(committed_db.url) == schema
    assert LogEntry.objects.filter(event="brought back").count() == 7
    assert activity_log.verify().broken is None
