"""The backfill, beside writers, conflicts, crashes and a table that moves under it."""

import subprocess
import sys
import threading
import time
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo, sql

from config.home import ROOT
from rollout.engine import backfill, ddl, lane_totals, lanes
from rollout.engine.backfill import next_position, shorter
from rollout.engine.control import Interrupted
from rollout.engine.lanes import Lane
from rollout.engine.pace import TARGET_SECONDS
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers
from tests.engine.actions import (
    NoControl,
    StopAfter,
    audit,
    claimed,
    do_until,
    new_job,
    run_fill,
    wait_until_somebody_waits,
    work_off,
    worker,
)
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample
from tests.engine.things import (
    FILL,
    PLAN,
    WRITES,
    Between,
    LetGoWhenItWaits,
    counted,
    expire_leases,
    legacy_rows,
    unfilled,
    writing,
)


class TestAWholePass:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_fills_every_row_and_accounts_for_it(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        sample.create(connection)
        for number, kind in enumerate(DIRTY):
            sample.insert(connection, number, kind=kind, state=DIRTY[-1 - number])
        do_until(target, connection, sample.plan, "dual-write")
        sample.update(connection, 0, note="healed by the trigger")
        totals = run_fill(connection, fill_of(sample.plan, sample.table))
        assert (totals.scanned, totals.updated) == (len(DIRTY), len(DIRTY) - 1)
        assert totals.already_right == 1
        assert audit(target, sample.plan).mismatched == 0

    def test_a_second_pass_updates_nothing(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 3_000)
        assert run_fill(connection, FILL).updated == 3_000
        totals = run_fill(connection, FILL)
        assert totals.updated == 0
        assert totals.scanned == totals.already_right == 3_000

    @pytest.mark.parametrize("rows", [0, 1])
    def test_a_table_of_no_row_or_one_is_done_at_once(
        self, rows: int, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, rows)
        totals = run_fill(connection, FILL)
        assert (totals.scanned, totals.updated, totals.fraction) == (rows, rows, 1)

    def test_clearing_puts_every_new_column_back_to_null(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 500)
        run_fill(connection, FILL)
        ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
        *_, clear = PLAN.step(2, "dual-write").backward(PLAN) or ()
        assert isinstance(clear, Fill)
        assert run_fill(connection, clear).updated == 500
        assert BIGINT.count(connection, "num_nonnulls(kind_id, state_id, is_open) > 0") == 0

    def test_a_value_without_a_mapping_row_keeps_the_sweep_from_ending_it(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 12)
        only_lookup = Fill(
            kind="fill",
            table=FILL.table,
            assignments=FILL.assignments[:1],
            joins=FILL.joins[:1],
            matches=FILL.matches[:1],
        )
        connection.execute(
            "DELETE FROM rollout.\"sample-bigint_things_kind_mapping\" WHERE legacy = 'FLAT'"
        )
        job, stripes = new_job(connection, only_lookup)
        assert work_off(connection, only_lookup, job, stripes).updated == 10
        assert backfill.count_unfilled(connection, only_lookup, job) == 2


class TestBesideWriters:
    @pytest.fixture(autouse=True)
    def short_ranges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Many batches, so that much happens between them."""
        monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 2)
        monkeypatch.setattr(backfill, "MAX_RANGE_BLOCKS", 2)

    def test_no_row_is_missed_that_is_inserted_updated_moved_or_deleted_meanwhile(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 6_000)
        with writing(target, *WRITES) as rounds:
            job, stripes = new_job(connection, FILL)
            before = rounds[0]
            totals = work_off(connection, FILL, job, stripes)
            assert rounds[0] > before + 10
            assert backfill.count_unfilled(connection, FILL, job) == 0
        assert 0 < totals.updated <= totals.scanned
        result = audit(target, PLAN)
        assert result.mismatches == []
        assert result.rows == BIGINT.count(connection)

    def test_rows_that_a_rewrite_of_the_table_moved_are_found_by_the_sweep_and_another_round(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 6_000)
        connection.execute("DELETE FROM things WHERE id % 3 = 0")
        job, _ = new_job(connection, FILL)
        lane = claimed(connection, job)
        with pytest.raises(Interrupted):
            worker(connection, FILL, stripes=1, control=StopAfter(1)).run_lane(lane, seconds=60)
        lanes.release(connection, lane)
        connection.execute("VACUUM FULL things")
        assert work_off(connection, FILL, job, 1).updated < 4_000
        left = backfill.count_unfilled(connection, FILL, job)
        lanes.another_round(connection, job, FILL.table)
        totals = work_off(connection, FILL, job, 1)
        assert left > 0
        assert (totals.updated, totals.round) == (4_000, 2)
        assert totals.scanned == totals.updated
        assert backfill.count_unfilled(connection, FILL, job) == 0


CLEAR = replace(
    FILL,
    kind="clear",
    assignments=tuple(replace(a, value=sql.SQL("NULL")) for a in FILL.assignments),
    joins=(),
    matches=(),
)


def room_further_on(target: Target, connection: Connection) -> int:
    """Full pages, then empty ones within the table: a row that is written moves there; how many."""
    legacy_rows(target, connection, 6_000)
    connection.execute("DELETE FROM things WHERE id BETWEEN 3001 AND 5999")
    connection.execute("VACUUM things")
    return BIGINT.count(connection)


class TestCounting:
    """Every row once: scanned = updated + already right + quarantined."""

    @pytest.fixture(autouse=True)
    def short_ranges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 2)
        monkeypatch.setattr(backfill, "MAX_RANGE_BLOCKS", 2)

    @pytest.mark.parametrize("stripes", [1, 4])
    def test_rows_that_move_ahead_of_the_scan_are_not_counted_there(
        self, target: Target, connection: Connection, stripes: int
    ) -> None:
        rows = room_further_on(target, connection)
        for action, updated in ((FILL, rows), (FILL, 0), (CLEAR, rows)):
            if action is CLEAR:
                ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
            job, _ = new_job(connection, action)
            totals = work_off(connection, action, job, stripes)
            assert (totals.scanned, totals.updated, totals.rewritten) == (rows, updated, 0)
            assert totals.already_right == rows - updated

    def test_rows_that_the_application_moves_ahead_of_the_scan_are_not_counted_there(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        rows = room_further_on(target, connection)
        job, stripes = new_job(connection, FILL)
        control = Between(lambda: app.execute("UPDATE things SET note = 'moved' WHERE id < 2000"))
        totals = work_off(connection, FILL, job, stripes, control=control)
        assert backfill.count_unfilled(connection, FILL, job) == 0
        assert totals.scanned == totals.updated + totals.already_right <= rows
        assert totals.rewritten == 0, "the dual write had them right"

    @pytest.mark.parametrize("how", ["", "in a subtransaction"])
    def test_what_a_transaction_writes_that_was_under_way_at_the_beginning_is_not_counted_twice(
        self, target: Target, connection: Connection, app: Connection, how: str
    ) -> None:
        """Its number is smaller than the job's first, and its rows come after they were met."""
        rows = room_further_on(target, connection)
        app.execute("BEGIN")
        app.execute("UPDATE things SET note = 'begun' WHERE id = 6000")
        if how:
            app.execute("SAVEPOINT a_part")
            app.execute("UPDATE things SET note = 'inner' WHERE id = 6000")
        # Another has ended since: so the job's first number is greater than that one's.
        connection.execute("UPDATE things SET note = 'ended' WHERE id = 1")
        job, stripes = new_job(connection, FILL)

        def end() -> None:
            app.execute("UPDATE things SET note = repeat('w', 300) WHERE id < 500")
            app.execute("COMMIT")

        totals = work_off(connection, FILL, job, stripes, control=Between(end))
        assert totals.scanned <= rows
        assert totals.scanned == totals.updated + totals.already_right
        assert backfill.count_unfilled(connection, FILL, job) == 0

    def test_what_comes_while_nothing_keeps_it_right_is_counted_apart(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        rows = room_further_on(target, connection)
        ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
        job, stripes = new_job(connection, FILL)
        control = Between(
            lambda: app.execute(
                "INSERT INTO things (id, kind, state) SELECT n, 'House', 'open'"
                " FROM generate_series(7001, 7100) AS n"
            )
        )
        work_off(connection, FILL, job, stripes, control=control)
        if backfill.count_unfilled(connection, FILL, job):
            lanes.another_round(connection, job, FILL.table)
            work_off(connection, FILL, job, stripes)
        totals = lane_totals.totals(connection, job)
        assert (totals.scanned, totals.updated, totals.rewritten) == (rows, rows, 100)

    @pytest.mark.slow
    def test_beside_writers_no_more_rows_are_counted_than_there_were(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 6_000)
        for action in (FILL, CLEAR, FILL):
            rows = BIGINT.count(connection)
            job, stripes = new_job(connection, action)
            with writing(target, *WRITES[1:]):
                totals = work_off(connection, action, job, stripes)
            assert totals.scanned == totals.updated + totals.already_right <= rows
            assert totals.updated > 0


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
        assert longest < (backfill.LOCK_TIMEOUT_MS + 1000 * TARGET_SECONDS) / 1000 + 0.5
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
        assert longest < (backfill.LOCK_TIMEOUT_MS + 1000 * TARGET_SECONDS) / 1000 + 0.5
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
            working.run_lane(claimed(connection, job), seconds=30)
        assert counted(connection, job)[1] == 2_000
        assert unfilled(connection) == 0

    def test_a_range_keeps_its_length_once_a_stripe_of_it_is_done(self) -> None:
        lane = Lane(1, 0, 1, "public", "things", 100, 20, 60, 40, 0)
        assert (shorter(lane).range_end, shorter(lane).range_blocks) == (30, 10)
        begun = replace(lane, stripe=1)
        assert shorter(begun) == begun


class TestTheLengthOfARange:
    """The batch's time is held near its target: fast down, slow up."""

    LANE = Lane(1, 0, 1, "public", "things", 10**9, 0, 100, 100, 0)

    def after(self, elapsed: float, lane: Lane = LANE, *, stripes: int = 1) -> Lane:
        return next_position(lane, stripes, lane.range_end, elapsed, target_seconds=0.1)

    def test_a_range_is_cut_to_a_quarter_when_a_batch_took_far_too_long(self) -> None:
        assert self.after(10.0).range_blocks == 25

    def test_a_range_follows_the_time_down(self) -> None:
        assert self.after(0.2).range_blocks == 50

    def test_a_range_grows_by_less_than_a_third_however_short_the_batch_was(self) -> None:
        assert self.after(0.0001).range_blocks == 131

    def test_a_range_keeps_its_length_when_the_batch_met_its_target(self) -> None:
        assert self.after(0.1).range_blocks == 100

    def test_a_range_has_at_least_a_block_and_grows_again_from_there(self) -> None:
        one = replace(self.LANE, range_end=1, range_blocks=1)
        assert self.after(10.0, one).range_blocks == 1
        assert self.after(0.01, one).range_blocks == 2

    def test_the_slowest_stripe_limits_the_length_of_a_range(self) -> None:
        lane = self.LANE
        for elapsed in (0.05, 0.2, 0.05, 0.05):
            lane = self.after(elapsed, lane, stripes=4)
        assert (lane.next_block, lane.range_end, lane.stripe) == (100, 150, 0)

    def test_holds_the_time_near_the_target_whatever_a_block_costs(self) -> None:
        lane, cost, times = self.LANE, 0.004, []
        for number in range(60):
            elapsed = (lane.range_end - lane.next_block) * cost
            lane = self.after(elapsed, lane)
            times.append(elapsed)
            if number == 30:
                cost /= 20
        assert times[0] == pytest.approx(0.4)
        assert all(0.07 < elapsed < 0.13 for elapsed in times[2:31])
        assert all(0.07 < elapsed < 0.13 for elapsed in times[45:])


class TestAWorker:
    @pytest.fixture(autouse=True)
    def rows(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 2_000)

    def test_whose_lane_was_taken_over_cannot_commit(
        self, target: Target, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        zombie = claimed(connection, job, "zombie")
        expire_leases(connection, job)
        heir = claimed(connection, job, "heir")
        with target.connect() as other, pytest.raises(Interrupted, match="took this lane over"):
            worker(other, FILL, stripes=stripes).run_lane(zombie, seconds=60)
        assert unfilled(connection) == 2_000
        assert counted(connection, job) == (0, 0)
        lanes.release(connection, zombie)
        assert lane_totals.totals(connection, job).holders == ("heir",)
        worker(connection, FILL, stripes=stripes).run_lane(heir, seconds=60)
        assert counted(connection, job) == (2_000, 2_000)

    def test_an_interrupted_worker_leaves_a_lane_that_continues_where_it_was(
        self, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        interruptions = 0
        while not lanes.is_finished(connection, job):
            lane = claimed(connection, job)
            working = worker(connection, FILL, stripes=stripes, control=StopAfter(3))
            try:
                working.run_lane(lane, seconds=60)
            except Interrupted:
                interruptions += 1
                lanes.release(connection, lane)
        assert interruptions > 3
        assert counted(connection, job) == (2_000, 2_000)

    def test_ends_with_its_slice_of_time_and_keeps_its_place(self, connection: Connection) -> None:
        job, stripes = new_job(connection, FILL)
        ticks = iter(range(1_000))
        working = worker(connection, FILL, stripes=stripes, clock=lambda: float(next(ticks)))
        working.run_lane(claimed(connection, job), seconds=8)
        scanned, updated = counted(connection, job)
        assert 0 < updated <= scanned
        assert updated < 2_000
        assert unfilled(connection) == 2_000 - updated
        assert not lanes.is_finished(connection, job)


class TestCrashes:
    """Nothing is done twice, nothing is counted twice, and nothing is missed."""

    def test_a_connection_that_is_lost_in_the_middle_of_a_batch(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        job, stripes = new_job(connection, FILL)
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 1000 FOR UPDATE")
        lost: list[BaseException] = []
        with target.connect() as mine:
            mine.execute("SELECT set_config('application_name', 'worker', false)")
            working = worker(mine, FILL, stripes=stripes)
            mine.execute("SET lock_timeout = 0")
            lane = claimed(mine, job, "worker")

            def work() -> None:
                try:
                    working.run_lane(lane, seconds=60)
                except psycopg.OperationalError as error:
                    lost.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            wait_until_somebody_waits(connection)
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'worker'"
            )
            thread.join()
        app.execute("COMMIT")
        assert len(lost) == 1
        self.recover(target, connection, job, stripes)

    def test_a_worker_that_is_killed_in_the_middle_of_a_batch(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        job, stripes = new_job(connection, FILL)
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 1000 FOR UPDATE")
        address = conninfo.make_conninfo("", **target.parameters)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.engine.worker", address, str(job), str(stripes)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"working\n"
            wait_until_somebody_waits(connection)
            process.kill()
        app.execute("COMMIT")
        self.recover(target, connection, job, stripes)

    @staticmethod
    def recover(target: Target, connection: Connection, job: int, stripes: int) -> None:
        _, updated = counted(connection, job)
        assert updated == 2_000 - unfilled_once_settled(connection)
        assert updated < 2_000
        assert lanes.claim(connection, job, "too early") is None
        expire_leases(connection, job)
        work_off(connection, FILL, job, stripes)
        assert counted(connection, job) == (2_000, 2_000)
        assert backfill.count_unfilled(connection, FILL, job) == 0
        assert audit(target, PLAN).mismatched == 0


def unfilled_once_settled(connection: Connection) -> int:
    """The rows without values, once the transaction of a dead client has been rolled back."""
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("BEGIN; LOCK TABLE things IN SHARE MODE; COMMIT")
    return unfilled(connection)
