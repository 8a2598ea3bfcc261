"""The backfill, beside writers, conflicts, crashes and a table that moves under it."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import conninfo

from config.home import ROOT
from rollout.engine import backfill, ddl
from rollout.engine.backfill import Totals
from rollout.engine.control import Interrupted
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers
from tests.engine.carrying import (
    NoControl,
    StopAfter,
    audit,
    do_until,
    new_job,
    run_fill,
    wait_until_somebody_waits,
    work_off,
)
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample

PLAN = BIGINT.plan
FILL = fill_of(PLAN, BIGINT.table)


def legacy_rows(target: Target, connection: Connection, rows: int) -> None:
    """A table of rows that nothing has filled, with the dual write on."""
    BIGINT.create(connection)
    # The rows of a page have room to move in, as in a table that is written to.
    connection.execute("ALTER TABLE things SET (autovacuum_enabled = off)")
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n,"
        " (ARRAY['House', ' house', 'FLAT', 'castle', '', NULL])[1 + mod(n, 6)],"
        " (ARRAY['open', 'sold', NULL])[1 + mod(n, 3)] FROM generate_series(1, %s) AS n",
        [rows],
    )
    do_until(target, connection, PLAN, "write-both")


def unfilled(connection: Connection) -> int:
    return BIGINT.count(connection, "t.kind_id IS NULL OR t.is_open IS NULL")


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
        assert audit(target, sample.plan).mismatched == 0

    def test_a_second_pass_updates_nothing(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 3_000)
        assert run_fill(connection, FILL).updated == 3_000
        totals = run_fill(connection, FILL)
        assert totals.updated == 0
        assert totals.scanned == 3_000

    @pytest.mark.parametrize("rows", [0, 1])
    def test_a_table_of_no_row_or_one_is_done_at_once(
        self, rows: int, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, rows)
        totals = run_fill(connection, FILL)
        assert (totals.scanned, totals.updated, totals.fraction) == (rows, rows, 1)

    def test_several_lanes_share_the_table_without_a_row_in_two(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 4_000)
        job, stripes = new_job(connection, FILL, lanes=3)
        totals = work_off(connection, FILL, job, stripes)
        assert totals.updated == 4_000
        assert backfill.count_unfilled(connection, FILL) == 0

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
        assert backfill.count_unfilled(connection, only_lookup) == 2


class TestTheChoiceOfStripes:
    def test_follows_the_rows_in_a_page_and_says_why(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        connection.execute("ANALYZE things")
        chosen = backfill.choose(connection, FILL)
        assert chosen.stripes == 16
        assert chosen.blocks == backfill.blocks_of(connection, FILL)
        assert 1_800 < chosen.estimated_rows < 2_200
        assert "16 stripes" in chosen.explanation
        assert "HOT" in chosen.explanation

    def test_is_one_stripe_for_wide_rows(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 0)
        connection.execute(
            "ALTER TABLE things ALTER note SET STORAGE PLAIN;"
            "INSERT INTO things (id, note)"
            " SELECT n, repeat('x', 3000) FROM generate_series(1, 50) AS n"
        )
        assert backfill.choose(connection, FILL).stripes == 1

    @pytest.mark.parametrize(
        "definition",
        ["(note, is_open)", "(note) INCLUDE (is_open)", "(note) WHERE is_open", "((NOT is_open))"],
    )
    def test_names_the_index_that_makes_striping_useless(
        self, definition: str, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        connection.execute(f'CREATE INDEX "In the way" ON things {definition}'.encode())
        chosen = backfill.choose(connection, FILL)
        assert chosen.stripes == 1
        assert '"In the way"' in chosen.explanation

    def test_needs_no_statistics(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 2_000)
        chosen = backfill.choose(connection, FILL)
        assert chosen.stripes > 1
        assert 1_800 < chosen.estimated_rows < 2_200


@contextmanager
def writing(target: Target, *statements: str) -> Iterator[list[int]]:
    """A writer with a connection of its own, over and over until the block ends.

    Gives a list of one number, how many rounds there were.
    """
    rounds = [0]
    failures: list[BaseException] = []
    enough = threading.Event()

    def write() -> None:
        try:
            with target.connect() as connection:
                while not enough.is_set():
                    for statement in statements:
                        connection.execute(statement.encode(), {"n": rounds[0]})
                    rounds[0] += 1
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield rounds
    finally:
        enough.set()
        thread.join()
    assert failures == []
    assert rounds[0] > 0


class TestBesideWriters:
    @pytest.fixture(autouse=True)
    def short_ranges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Many batches, so that much happens between them."""
        monkeypatch.setattr(backfill, "FIRST_RANGE_BLOCKS", 2)
        monkeypatch.setattr(backfill, "LONGEST_RANGE_BLOCKS", 2)

    def test_no_row_is_missed_that_is_inserted_updated_moved_or_deleted_meanwhile(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 6_000)
        with writing(
            target,
            "INSERT INTO things (id, kind, state) VALUES (100000 + %(n)s, ' New', 'Open')",
            "UPDATE things SET kind = 'Tower' WHERE id = 1 + (%(n)s * 71) %% 6000",
            # Too wide for its page: the row moves to the end of the table, or to a hole.
            "UPDATE things SET note = repeat('wide', 400) WHERE id = 1 + (%(n)s * 37) %% 6000",
            "UPDATE things SET note = NULL WHERE id = 1 + (%(n)s * 53) %% 6000",
            "DELETE FROM things WHERE id = 1 + (%(n)s * 101) %% 6000",
        ) as rounds:
            job, stripes = new_job(connection, FILL)
            before = rounds[0]
            totals = work_off(connection, FILL, job, stripes)
            assert rounds[0] > before + 10
            assert backfill.count_unfilled(connection, FILL) == 0
        assert totals.updated <= totals.scanned
        result = audit(target, PLAN)
        assert result.mismatches == []
        assert result.rows == BIGINT.count(connection)

    def test_rows_that_a_rewrite_of_the_table_moved_are_found_by_the_sweep_and_another_round(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 6_000)
        connection.execute("DELETE FROM things WHERE id % 3 = 0")
        job, _ = new_job(connection, FILL)
        lane = backfill.claim(connection, job, "test")
        assert lane is not None
        with pytest.raises(Interrupted):
            backfill.work(connection, FILL, lane, stripes=1, seconds=60, control=StopAfter(1))
        backfill.release(connection, lane)
        connection.execute("VACUUM FULL things")
        assert work_off(connection, FILL, job, 1).updated < 4_000
        left = backfill.count_unfilled(connection, FILL)
        backfill.another_round(connection, job, backfill.blocks_of(connection, FILL))
        totals = work_off(connection, FILL, job, 1)
        assert left > 0
        assert (totals.updated, totals.round) == (4_000, 2)
        assert backfill.count_unfilled(connection, FILL) == 0

    def test_another_round_reaches_the_blocks_that_the_table_has_gained(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 0)
        job, stripes = new_job(connection, FILL)
        assert backfill.is_finished(connection, job)
        ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
        BIGINT.insert(connection, 1, kind=None)
        assert backfill.count_unfilled(connection, FILL) == 1
        backfill.another_round(connection, job, backfill.blocks_of(connection, FILL))
        assert work_off(connection, FILL, job, stripes).updated == 1


class TestConflicts:
    def test_a_row_that_a_transaction_holds_makes_the_backfill_wait_and_say_so(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 300)
        job, stripes = new_job(connection, FILL)
        control = LetGoWhenItWaits(app)
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 150 FOR UPDATE")
        backfill.prepare_session(connection)
        lane = backfill.claim(connection, job, "test")
        assert lane is not None
        backfill.work(connection, FILL, lane, stripes=stripes, seconds=60, control=control)
        assert control.waits[0] == "rows that a transaction of the application holds"
        assert control.waits[-1] == ""
        totals = backfill.totals(connection, job)
        assert (totals.scanned, totals.updated) == (300, 300)

    def test_the_application_waits_no_longer_than_a_batch_and_its_lock_timeout(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        """The batch holds many rows while it waits for one; others want those."""
        legacy_rows(target, connection, 300)
        job, _ = new_job(connection, FILL)
        longest = 0.0
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 300 FOR UPDATE")
        worker = threading.Thread(target=work_off, args=(connection, FILL, job, 1))
        worker.start()
        with target.connect() as other:
            wait_until_somebody_waits(other)
            for number in range(1, 40):
                started = time.monotonic()
                other.execute("UPDATE things SET note = 'x' WHERE id = %s", [number])
                longest = max(longest, time.monotonic() - started)
        app.execute("COMMIT")
        worker.join()
        assert longest < (backfill.LOCK_TIMEOUT_MS + 1000 * backfill.TARGET_SECONDS) / 1000 + 0.5
        assert unfilled(connection) == 0


class LetGoWhenItWaits(NoControl):
    """Ends the application's transaction as soon as the backfill says that it waits."""

    def __init__(self, app: Connection) -> None:
        super().__init__()
        self.app = app

    def waiting(self, reason: str) -> None:
        super().waiting(reason)
        if reason:
            self.app.execute("COMMIT")


class TestLanes:
    @pytest.fixture(autouse=True)
    def rows(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 2_000)

    def test_a_lane_that_is_held_is_nobody_elses(self, connection: Connection) -> None:
        job, _ = new_job(connection, FILL)
        lane = backfill.claim(connection, job, "first")
        assert lane is not None
        assert backfill.claim(connection, job, "second") is None
        assert backfill.totals(connection, job).holders == ("first",)
        backfill.release(connection, lane)
        assert backfill.claim(connection, job, "second") is not None

    def test_a_worker_whose_lane_was_taken_over_cannot_commit(
        self, target: Target, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        zombie = backfill.claim(connection, job, "zombie")
        assert zombie is not None
        expire_leases(connection, job)
        heir = backfill.claim(connection, job, "heir")
        assert heir is not None
        with target.connect() as other, pytest.raises(Interrupted, match="taken this lane over"):
            backfill.work(other, FILL, zombie, stripes=stripes, seconds=60, control=NoControl())
        assert unfilled(connection) == 2_000
        assert backfill.totals(connection, job).scanned == 0
        backfill.release(connection, zombie)
        assert backfill.totals(connection, job).holders == ("heir",)
        backfill.work(connection, FILL, heir, stripes=stripes, seconds=60, control=NoControl())
        assert counted(connection, job) == (2_000, 2_000)

    def test_an_interrupted_lane_goes_on_where_it_was(self, connection: Connection) -> None:
        job, stripes = new_job(connection, FILL)
        interruptions = 0
        while not backfill.is_finished(connection, job):
            lane = backfill.claim(connection, job, "test")
            assert lane is not None
            try:
                backfill.work(
                    connection, FILL, lane, stripes=stripes, seconds=60, control=StopAfter(3)
                )
            except Interrupted:
                interruptions += 1
                backfill.release(connection, lane)
        assert interruptions > 3
        assert counted(connection, job) == (2_000, 2_000)

    def test_a_lane_ends_with_its_slice_of_time_and_keeps_its_place(
        self, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        lane = backfill.claim(connection, job, "test")
        assert lane is not None
        ticks = iter(range(1_000))
        lane = backfill.work(
            connection,
            FILL,
            lane,
            stripes=stripes,
            seconds=8,
            control=NoControl(),
            clock=lambda: float(next(ticks)),
        )
        scanned, updated = counted(connection, job)
        assert 0 < scanned == updated < 2_000
        assert not backfill.is_finished(connection, job)

    def test_lanes_are_made_once_and_forgotten_when_the_journal_has_their_totals(
        self, connection: Connection
    ) -> None:
        job, stripes = new_job(connection, FILL)
        work_off(connection, FILL, job, stripes)
        backfill.create_lanes(connection, job, 1)
        assert backfill.is_finished(connection, job)
        backfill.forget(connection, job)
        assert backfill.totals(connection, job).scanned == 0

    def test_slow_batches_make_the_next_range_shorter(self, connection: Connection) -> None:
        job, _ = new_job(connection, FILL)
        lane = backfill.claim(connection, job, "test")
        assert lane is not None
        times = iter([0.0, 0.0, 0.0, 10 * backfill.TARGET_SECONDS, 1e9])
        after = backfill.work(
            connection,
            FILL,
            lane,
            stripes=1,
            seconds=60,
            control=NoControl(),
            clock=lambda: next(times),
        )
        assert after.range_blocks < lane.range_end


def expire_leases(connection: Connection, job: int) -> None:
    """As if the holder had been silent for longer than a lease."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = now() - interval '1 s' WHERE job = %s", [job]
    )


def counted(connection: Connection, job: int) -> tuple[int, int]:
    totals: Totals = backfill.totals(connection, job)
    return totals.scanned, totals.updated


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
        with target.connect() as worker:
            worker.execute("SELECT set_config('application_name', 'worker', false)")
            lane = backfill.claim(worker, job, "worker")
            assert lane is not None

            def work() -> None:
                try:
                    backfill.work(
                        worker, FILL, lane, stripes=stripes, seconds=60, control=NoControl()
                    )
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
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"working\n"
            wait_until_somebody_waits(connection)
            worker.kill()
        app.execute("COMMIT")
        self.recover(target, connection, job, stripes)

    @staticmethod
    def recover(target: Target, connection: Connection, job: int, stripes: int) -> None:
        scanned, updated = counted(connection, job)
        assert scanned == updated == 2_000 - unfilled_once_settled(connection, updated)
        assert scanned < 2_000
        assert backfill.claim(connection, job, "too early") is None
        expire_leases(connection, job)
        work_off(connection, FILL, job, stripes)
        assert counted(connection, job) == (2_000, 2_000)
        assert backfill.count_unfilled(connection, FILL) == 0
        assert audit(target, PLAN).mismatched == 0


def unfilled_once_settled(connection: Connection, updated: int) -> int:
    """The rows without values, once the transaction of a dead client has been rolled back."""
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("BEGIN; LOCK TABLE things IN SHARE MODE; COMMIT")
    return unfilled(connection)
