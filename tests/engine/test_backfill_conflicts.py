"""The backfill beside transactions that hold its rows."""

import threading
import time
from dataclasses import replace

import pytest

from rollout.engine import backfill, lanes
from rollout.engine.lane_positions import shorter
from rollout.engine.lanes import Lane
from rollout.engine.pace import TARGET_MS
from rollout.engine.target import Connection, Target
from tests.engine.actions import (
    NoControl,
    claimed,
    new_job,
    wait_until_somebody_waits,
    work_off,
    worker,
)
from tests.engine.samples import BIGINT
from tests.engine.things import FILL, LetGoWhenItWaits, counted, legacy_rows, unfilled


class TestConflicts:
    def test_a_row_that_a_transaction_holds_makes_the_backfill_wait_and_say_so(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 300)
        job, stripes = new_job(connection, FILL)
        control = LetGoWhenItWaits(app)
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 150 FOR UPDATE")
        work_off(connection, FILL, job, stripes, control=control)
        assert "rows locked by the application" in control.waits
        assert control.waits[-1] == ""
        assert counted(connection, job) == (300, 300)

    def test_the_application_waits_no_longer_than_a_batch_and_its_lock_timeout(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        """The batch holds many rows while it waits for one; others want those."""
        legacy_rows(target, connection, 300)
        job, _ = new_job(connection, FILL)
        longest = 0.0
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 300 FOR UPDATE")
        engine = threading.Thread(target=work_off, args=(connection, FILL, job, 1))
        engine.start()
        with target.connect() as other:
            wait_until_somebody_waits(other)
            for number in range(1, 40):
                started = time.monotonic()
                other.execute("UPDATE things SET note = 'x' WHERE id = %s", [number])
                longest = max(longest, time.monotonic() - started)
        app.execute("COMMIT")
        engine.join()
        assert longest < (backfill.LOCK_TIMEOUT_MS + TARGET_MS) / 1000 + 0.5
        assert unfilled(connection) == 0

    def test_the_backfill_is_the_victim_of_a_deadlock_and_never_the_application(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        """The application takes the last row, then the first; the batch goes the other way."""
        legacy_rows(target, connection, 300)
        job, _ = new_job(connection, FILL)
        app.execute("SET deadlock_timeout = '1s'")
        app.execute("BEGIN")
        app.execute("UPDATE things SET note = 'held' WHERE id = 300")
        engine = threading.Thread(target=work_off, args=(connection, FILL, job, 1))
        engine.start()
        with target.connect() as other:
            wait_until_somebody_waits(other)
        app.execute("UPDATE things SET note = 'held' WHERE id < 300")
        app.execute("COMMIT")
        engine.join()
        assert BIGINT.count(connection, "t.note = 'held'") == 300
        assert unfilled(connection) == 0

    @pytest.mark.slow
    def test_rows_held_however_long_hold_up_nobody_but_the_backfill(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        job, _ = new_job(connection, FILL)
        control = NoControl()
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id BETWEEN 900 AND 950 FOR UPDATE")
        engine = threading.Thread(
            target=work_off, args=(connection, FILL, job, 4), kwargs={"control": control}
        )
        engine.start()
        longest, writes, held = 0.0, 0, "rows locked by the application"
        with target.connect() as other:
            # By the eighth time it has waited for as long as it ever does between two tries.
            while engine.is_alive() and (writes <= 1_000 or control.waits.count(held) < 8):
                started = time.monotonic()
                other.execute("UPDATE things SET note = 'x' WHERE id = %s", [1 + writes * 37 % 890])
                longest = max(longest, time.monotonic() - started)
                writes += 1
        assert engine.is_alive()
        app.execute("COMMIT")
        engine.join()
        assert longest < (backfill.LOCK_TIMEOUT_MS + TARGET_MS) / 1000 + 0.5
        assert unfilled(connection) == 0

    @pytest.mark.slow
    def test_a_conflict_makes_the_next_batch_shorter_so_that_a_slow_one_comes_to_an_end(
        self, target: Target, connection: Connection
    ) -> None:
        """A batch that always runs into the statement's timeout would be tried for ever."""
        legacy_rows(target, connection, 2_000)
        connection.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(0.001); RETURN new; END $$;"
            " CREATE TRIGGER slow BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        job, _ = new_job(connection, FILL)
        working = worker(connection, FILL, stripes=1)
        connection.execute("SET statement_timeout = '400ms'")
        while not lanes.is_finished(connection, job):
            # A busy machine may take longer than that, and claims the lane once more.
            lanes.release(connection, working.run_lane(claimed(connection, job), seconds=30))
        assert counted(connection, job)[1] == 2_000
        assert unfilled(connection) == 0

    def test_a_range_keeps_its_length_once_a_stripe_of_it_is_done(self) -> None:
        lane = Lane(1, 0, 1, "public", "things", 100, 20, 60, 40, 0)
        assert (shorter(lane).range_end, shorter(lane).range_blocks) == (30, 10)
        begun = replace(lane, stripe=1)
        assert shorter(begun) == begun
