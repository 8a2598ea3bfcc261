"""The backfill, beside writers, conflicts, crashes and a table that moves under it."""

import subprocess
import sys
import threading
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo, sql

from config.home import ROOT
from rollout.engine import backfill, ddl, lane_positions, lane_totals, lanes
from rollout.engine.control import Interrupted
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
    counted,
    expire_leases,
    legacy_rows,
    unfilled,
    writing,
)


class TestAWholePass:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_a_pass_fills_every_row_and_accounts_for_it(
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


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches, so that much happens between them."""
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 2)
    monkeypatch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("short_ranges")
class TestBesideWriters:
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


@pytest.mark.usefixtures("short_ranges")
class TestCounting:
    """Every row once: scanned = updated + already right + quarantined."""

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

    def test_no_stripe_counts_before_it_is_written(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        job, _ = new_job(connection, FILL)
        shares = set()
        while not lanes.is_finished(connection, job):
            lane = claimed(connection, job)
            try:
                worker(connection, FILL, stripes=4, control=StopAfter(2)).run_lane(lane, seconds=60)
            except Interrupted:
                lanes.release(connection, lane)
            totals = lane_totals.totals(connection, job)
            assert totals.scanned == totals.updated == 2_000 - unfilled(connection)
            assert totals.fraction == pytest.approx(totals.scanned / 2_000, abs=0.05)
            shares.add(totals.fraction)
        assert len(shares) > 4
        assert totals.fraction == 1

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
    def test_rows_of_a_transaction_open_at_the_beginning_are_not_counted_twice(
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

    def test_rows_inserted_without_triggers_are_counted_apart(
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


class TestAWorker:
    @pytest.fixture(autouse=True)
    def rows(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 2_000)

    def test_a_worker_whose_lane_was_taken_over_cannot_commit(
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

    def test_a_worker_ends_with_its_slice_of_time_and_keeps_its_place(
        self, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        ticks = iter(range(1_000))
        working = worker(connection, FILL, stripes=stripes, clock=lambda: float(next(ticks)))
        working.run_lane(claimed(connection, job), seconds=8)
        scanned, updated = counted(connection, job)
        assert 0 < updated <= scanned
        assert updated < 2_000
        assert unfilled(connection) == 2_000 - updated
        assert not lanes.is_finished(connection, job)


@pytest.mark.crash
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
