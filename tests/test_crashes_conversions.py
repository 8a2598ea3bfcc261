"""A conversion forward and back by real workers that are killed, while two releases write."""

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from rollout import plan as r
from rollout import runner
from rollout.journal import activity_log
from rollout.models import BackfillJob, LogEntry, PhaseRun, RunState
from rollout.plan import plans
from tests.schemas import plan_of, table
from tests.support import rollouts
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import kill_the_worker_at_its_work, ten_seconds_pass, wait_for

pytestmark = pytest.mark.xdist_group("crashes")

ROWS = 4_000
WRITTEN_ROWS = 20
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
# While a worker has to die, every batch takes a while in its transaction; a writer's statement,
# which is about one row, never does.
SLOW = """
CREATE TABLE batch_seconds AS SELECT 0::float AS seconds;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF (SELECT count(*) FROM written) > 5 THEN
    PERFORM pg_sleep(seconds) FROM batch_seconds;
  END IF; RETURN NULL;
END $$;
CREATE TRIGGER slow AFTER UPDATE ON {table} REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
SCHEMA = """SELECT jsonb_agg(jsonb_build_array(attname, atttypid::regtype::text, attnotnull)
  ORDER BY attname) FROM pg_attribute
  WHERE attrelid = 'priced'::regclass AND attnum > 0 AND NOT attisdropped"""
TRIGGERS = "SELECT array_agg(tgname) FROM pg_trigger WHERE tgrelid = 'priced'::regclass"
PRICES = "SELECT jsonb_object_agg(id, price) FROM priced"


class Release(threading.Thread):
    """A release of the application: writes the prices of its own rows until it is retired."""

    def __init__(self, number: int, statement: str) -> None:
        super().__init__(name=f"release {number}", daemon=True)
        self.statement = statement
        self.keys = range(number * WRITTEN_ROWS + 1, (number + 1) * WRITTEN_ROWS + 1)
        self.cents: dict[int, int] = {}
        self.errors: list[str] = []
        self._retired = threading.Event()

    def run(self) -> None:
        with rollouts.target() as connection:
            number = 0
            while not self._retired.wait(0.005):
                number += 1
                key = self.keys[number % WRITTEN_ROWS]
                cents = 100_000 + number
                try:
                    connection.execute(self.statement.encode(), {"cents": cents, "key": str(key)})
                except psycopg.Error as error:
                    self.errors.append(str(error))
                else:
                    self.cents[key] = cents

    def retire(self) -> dict[int, int]:
        """Stop; what was written last to each row."""
        self._retired.set()
        self.join()
        assert self.errors == []
        assert len(self.cents) == WRITTEN_ROWS
        return self.cents


OLD = "UPDATE priced SET price = (%(cents)s / 100.0)::text WHERE id = md5(%(key)s)::uuid"
NEW = "UPDATE priced SET price_cents = %(cents)s WHERE id = md5(%(key)s)::uuid"


def die_in_the_middle(start: Callable[[], PhaseRun], kind: str, *, rows: int = ROWS) -> None:
    """Start a run, kill its worker once the job of a kind has written some rows, and wait for the
    run's end."""
    rollouts.execute("UPDATE batch_seconds SET seconds = 0.5")
    run = start()
    written = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes"
    wait_until(
        lambda: (
            BackfillJob.objects.filter(step_run__run=run, kind=kind, finished_at=None).exists()
            and 0 < rollouts.ask(written) < rows
        ),
        seconds=60,
    )
    kill_the_worker_at_its_work(run)
    rollouts.execute("UPDATE batch_seconds SET seconds = 0")
    ten_seconds_pass(run)
    wait_for(run, RunState.DONE)


def test_no_write_is_lost_where_workers_die_in_a_conversion_and_in_its_rollback(
    committed_db: Database, watchdog: Running, own_plans: None, tmp_path: Path
) -> None:
    plans.register(CENTS)
    rollouts.execute(TABLE + SLOW.format(table="priced"))
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.CENTS")
    rollout = rollouts.the_rollout(CENTS.name)
    before, schema, triggers = (rollouts.ask(of) for of in (PRICES, SCHEMA, TRIGGERS))
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")):
        old = Release(0, OLD)
        old.start()
        for phase in (0, 1):
            wait_for(rollouts.start(rollout, phase), RunState.DONE)
        die_in_the_middle(lambda: rollouts.start(rollout, 2), "fill")
        new = Release(1, NEW)
        new.start()
        wait_for(rollouts.start(rollout, 3), RunState.DONE)
        expected = old.retire()
        wait_for(rollouts.start(rollout, 4), RunState.DONE)
        die_in_the_middle(lambda: runner.roll_back(rollout, 4, actor=ADA), "restore")
        last = Release(2, OLD)
        last.start()
        wait_for(runner.roll_back(rollout, 3, actor=ADA), RunState.DONE)
        expected |= new.retire()
        for phase in (2, 1, 0):
            wait_for(runner.roll_back(rollout, phase, actor=ADA), RunState.DONE)
        expected |= last.retire()
    after = rollouts.ask(PRICES)
    keys = {key: rollouts.ask("SELECT md5(%s)::uuid::text", str(key)) for key in expected}
    assert {key: round(float(after[keys[key]]) * 100) for key in expected} == expected
    untouched = before.keys() - set(keys.values())
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert (rollouts.ask(SCHEMA), rollouts.ask(TRIGGERS)) == (schema, triggers)
    assert LogEntry.objects.filter(event="brought back").count() == 2
    assert activity_log.verify().broken is None
