"""Brings columns of every row to their right value, in block ranges and stripes, beside writers.

A worker goes through its lane in short ranges; each range is done in ``stripes`` batches, of which
each takes every n-th row of each page, in a transaction of its own. Between them PostgreSQL
prunes the row versions that the batch before left behind, so most updates find room in their own
page. A row that is not right stays in its place until somebody writes it: no stripe misses it.
The lane's position and counters are written in the transaction of the rows themselves, so a crash
replays and double-counts nothing. A row that is written moves, often to a range further on: it is
known by the transaction that wrote it, and not counted there once more.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from psycopg import errors, sql

from rollout.engine import (
    batches,
    computed_batches,
    copy_batches,
    lanes,
    proof_batches,
    quarantine,
    task_batches,
)
from rollout.engine.batches import Counts, Place, Range
from rollout.engine.careful_batches import Care
from rollout.engine.control import Control, Interrupted, pause
from rollout.engine.joined_batches import JoinedBatches, joined_batches
from rollout.engine.lane_positions import next_position, shorter
from rollout.engine.lanes import Lane
from rollout.engine.pace import Pace
from rollout.engine.refused_rows import RefusedRows
from rollout.engine.target import CUT_OFF_SECONDS, Connection, own_transaction
from rollout.engine.throughputs import ThroughputRecord
from rollout.plan.actions import Compute, Fill, Pass
from rollout.plan.copies import Copy
from rollout.plan.proofs import Proof
from rollout.plan.session_settings import BY_HASH, BY_KEY
from rollout.plan.tasks import Task

# Far below deadlock_timeout: in a conflict the backfill yields, never the application.
LOCK_TIMEOUT_MS = 100
# Rows locked at a time while the backfill looks for those that the database refuses.
POISON_BATCH_SIZE = 64
# With more in a batch each row is looked at.
MAX_REFUSED_ROWS = 500


class LaneLost(Interrupted):
    """Another worker holds the lane now; the run itself continues."""


def prepare_session(connection: Connection) -> None:
    """Settings of a worker's session.

    Commits need not wait for the disk: rows and checkpoint are lost together or not at all. Only
    a range's last stripe waits.
    """
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))
    connection.execute("SET statement_timeout = '60s'")
    connection.execute("SET synchronous_commit = off")
    # Each batch is a statement of its own: to compile it takes longer than to interpret it.
    connection.execute("SET jit = off")
    connection.execute(
        sql.SQL("SET idle_in_transaction_session_timeout = {}").format(
            sql.Literal(f"{CUT_OFF_SECONDS}s")
        )
    )


class Worker:
    """Goes through lanes of one job on one connection."""

    def __init__(
        self,
        connection: Connection,
        action: Pass,
        *,
        stripes: int,
        control: Control,
        pace: Pace | None = None,
        function: Callable[..., Any] | None = None,
        most_poison_rows: int = 50,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self.action = action
        self.stripes = stripes
        self.control = control
        self.pace = pace or Pace()
        self.function = function
        self.most_poison_rows = most_poison_rows
        self.clock = clock
        self.some_refused = False
        self.care = Care(action)
        self.joined = JoinedBatches()
        self.refused = RefusedRows()

    def run_lane(self, lane: Lane, *, seconds: float) -> Lane:
        """Go through a lane for about that many seconds, or to its end; the lane as it is then.

        Raises Interrupted when asked to stop or when the lane is no longer this worker's,
        TooManyPoisonRows, and psycopg.Error.
        """
        until = self.clock() + seconds
        conflicts = 0
        self.some_refused = quarantine.count(self.connection, lane.job) > 0
        self.joined = joined_batches(self.connection, self.care.plain, lane)
        throughput = ThroughputRecord(self.connection, lane.job, self.pace.lost)
        unrecorded = 0
        try:
            while lane.next_block < lane.end_block and self.clock() < until:
                self.control.raise_if_stopped()
                keep = partial(lanes.keep, self.connection, lane)
                self.pace.before_batch(self.control, keep)
                started, stripe = self.clock(), lane.stripe
                try:
                    lane, counts = self._run_batch(lane, started)
                except batches.CONFLICTS:
                    conflicts += 1
                    self._wait_for_rows(lane, conflicts)
                    lane = shorter(lane)
                    continue
                except errors.UndefinedTable:
                    if lanes.is_there(self.connection, lane):
                        raise
                    # A partition that was dropped has no row left.
                    lane = replace(lane, next_block=lane.end_block)
                    break
                conflicts = 0
                worked = self.clock() - started
                unrecorded += counts.read
                # What is counted with a range's first stripe is recorded with each of them.
                left = self.stripes - stripe if counts.of_stripes or not counts.read else 1
                read, unrecorded = unrecorded // left, unrecorded - unrecorded // left
                throughput.add(read, counts.written, worked)
                # Each computed row is written in a subtransaction.
                writes = 1 + (counts.written if isinstance(self.action, Compute) else 0)
                self.pace.after_batch(worked, self.control, keep, rows=counts.read, writes=writes)
        finally:
            if not self.connection.closed:
                throughput.add(unrecorded, 0, 0.0)
                throughput.flush()
        if lane.next_block >= lane.end_block:
            lanes.finish(self.connection, lane)
        return lane

    def _run_batch(self, lane: Lane, started: float) -> tuple[Lane, Counts]:
        """One stripe of one range: the rows and the lane's checkpoint, in one transaction."""
        range_end = max(lane.range_end, min(lane.end_block, lane.next_block + 1))
        rows = Range.of(lane, range_end, self.stripes)
        if isinstance(self.action, Task):
            return self._task_batch(self.action, lane, range_end, rows, started)
        if isinstance(self.action, Compute):
            return self._computed_batch(self.action, lane, range_end, rows, started)
        if isinstance(self.action, Proof):
            return self._compared_batch(self.action, lane, range_end, rows, started)
        if isinstance(self.action, Copy):
            return self._copied_batch(self.action, lane, range_end, rows, started)
        fill = self.action
        if fill.refused is not None:
            return self._batch_around_refused(fill, lane, range_end, rows, started)
        try:
            with own_transaction(self.connection):
                self._wait_for_disk(lane)
                if fill.source is not None:
                    self.connection.execute(BY_KEY)
                if self.some_refused:
                    update = batches.update_and_release
                else:
                    update = batches.update_and_keep if fill.keeps else batches.update_rows
                by_groups = self.joined.next if fill is self.care.plain else None
                if by_groups is not None and self.joined.reads_all:
                    self.connection.execute(BY_HASH)
                counts = update(self.connection, by_groups or fill, lane, rows)
                after = self._checkpoint(lane, range_end, counts, started)
            self._settle(lane, rows)
            self.action = self.care.after(fill, raised=False)
            self.joined.written = counts.written
            return after, counts
        except psycopg.Error as error:
            if not quarantine.is_of_a_row(error):
                raise
        self.some_refused = True
        self.action = self.care.after(fill, raised=True)
        if isinstance(self.action, Fill) and self.action.refused is not None:
            return self._batch_around_refused(self.action, lane, range_end, rows, started)
        return self._batch_with_poison(fill, lane, range_end, rows, started)

    def _batch_around_refused(
        self, fill: Fill, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        """All rows at once but those that expressions refuse, then these a few at a time."""
        plain = self.care.plain
        assert isinstance(plain, Fill)
        if rows.first:
            return self._range_counted(lane, range_end, rows)
        refused = self.refused.of(self.connection, fill, lane, range_end, rows)
        if len(refused) > MAX_REFUSED_ROWS:
            return self._batch_with_poison(fill, lane, range_end, rows, started)
        others = rows.besides([place for place, *_ in refused])
        try:
            with own_transaction(self.connection):
                counts = batches.update_and_release(self.connection, plain, lane, others)
                self._advance(lane, lane, counts, seconds=0.0)
        except psycopg.Error as error:
            if not quarantine.is_of_a_row(error):
                raise
            return self._batch_with_poison(fill, lane, range_end, rows, started)
        begun = self.clock()
        counts += self._a_few_at_a_time(fill, lane, refused, begun)
        started += self.clock() - begun  # Those seconds are counted.
        with self.connection.transaction():
            self._wait_for_disk(lane)
            after = self._checkpoint(lane, range_end, Counts(), started)
        self._settle(lane, rows)
        self.action = self.care.after(fill, raised=refused != [])
        return after, counts

    def _batch_with_poison(
        self, fill: Fill, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        """A few rows at a time, each time in a transaction of its own with its counters.

        The search for the rows at fault takes a while, and nobody is to wait for it. The lane's
        place stays until all are done: what is done twice finds its rows right, or in quarantine.
        """
        if rows.first:
            return self._range_counted(lane, range_end, rows)
        fill = fill.guarded
        wrong = batches.wrong_rows(self.connection, fill, lane, rows)
        done = self._a_few_at_a_time(fill, lane, wrong, started)
        with self.connection.transaction():
            # Those seconds are counted. The next range is no longer than this one, which took long.
            after = self._checkpoint(
                lane, range_end, Counts(), self.clock(), at_least=self.pace.target_seconds
            )
        return after, done

    def _range_counted(self, lane: Lane, range_end: int, rows: Range) -> tuple[Lane, Counts]:
        """Before parts of it are written: who does it again does not meet them as they were."""
        counts = batches.counted(self.connection, lane, rows)
        after = replace(lane, range_end=range_end, stripe_rows=counts.of_stripes)
        self._advance(lane, after, counts, seconds=0.0)
        return after, counts

    def _a_few_at_a_time(
        self, fill: Fill, lane: Lane, places: Sequence[Place], started: float
    ) -> Counts:
        done = Counts()
        for first in range(0, len(places), POISON_BATCH_SIZE):
            self.control.raise_if_stopped()
            few = list(places[first : first + POISON_BATCH_SIZE])
            with own_transaction(self.connection):
                counts = batches.update_one_by_one(self.connection, fill, lane, few)
                self._advance(lane, lane, counts, seconds=self.clock() - started)
            done += counts
            started = self.clock()
            if counts.refused:
                quarantine.refuse_too_many(self.connection, lane.job, most=self.most_poison_rows)
        return done

    def _computed_batch(
        self, action: Compute, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        assert self.function is not None

        def between() -> None:
            self.control.raise_if_stopped()
            lanes.keep(self.connection, lane)

        computed = computed_batches.compute_rows(
            self.connection, action, self.function, lane, rows, between=between
        )
        with own_transaction(self.connection):
            counts = computed_batches.write_computed(self.connection, action, lane, computed)
            after = self._checkpoint(lane, range_end, counts, started)
        if counts.refused:
            quarantine.refuse_too_many(self.connection, lane.job, most=self.most_poison_rows)
        return after, counts

    def _task_batch(
        self, task: Task, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        assert self.function is not None
        # Not announced as the engine's: the dual write translates what the function writes.
        with self.connection.transaction():
            counts = task_batches.run_task(self.connection, task, self.function, lane, rows)
            after = self._checkpoint(lane, range_end, counts, started)
        if counts.refused:
            quarantine.refuse_too_many(self.connection, lane.job, most=self.most_poison_rows)
        return after, counts

    def _compared_batch(
        self, proof: Proof, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        with self.connection.transaction():
            if proof.source is not None:
                self.connection.execute(BY_KEY)
            compared = proof_batches.compare_rows(self.connection, proof, lane, rows)
            proof_batches.name_differing(self.connection, lane, compared)
            lanes.tally(
                self.connection, lane, exact=compared.exact, fingerprint=compared.fingerprint
            )
            counts = Counts(
                read=compared.read, scanned=compared.scanned, quarantined=compared.differing
            )
            return self._checkpoint(lane, range_end, counts, started), counts

    def _copied_batch(
        self, copy: Copy, lane: Lane, range_end: int, rows: Range, started: float
    ) -> tuple[Lane, Counts]:
        with own_transaction(self.connection):
            counts = copy_batches.copy_rows(self.connection, copy, lane, rows)
            return self._checkpoint(lane, range_end, counts, started), counts

    def _wait_for_disk(self, lane: Lane) -> None:
        """Have the commit of a range's last stripe wait: no hint is set of one that may be lost."""
        if lane.stripe == self.stripes - 1:
            self.connection.execute("SET LOCAL synchronous_commit = on")

    def _settle(self, lane: Lane, rows: Range) -> None:
        if lane.stripe == self.stripes - 1:
            batches.settle(self.connection, lane, rows)

    def _checkpoint(
        self,
        lane: Lane,
        range_end: int,
        counts: Counts,
        started: float,
        *,
        at_least: float = 0.001,
    ) -> Lane:
        """Advance the lane. The next range is as long as a batch of ``at_least`` seconds allows."""
        elapsed = max(self.clock() - started, 0.001)
        after = next_position(
            lane,
            self.stripes,
            range_end,
            self.pace.stretched(max(elapsed, at_least), counts.read or sum(lane.stripe_rows)),
            target_seconds=self.pace.target_seconds,
        )
        # What is scanned commits with its stripe, so that no page shows work that is still to do.
        of_stripes = counts.of_stripes or lane.stripe_rows
        after = replace(after, stripe_rows=of_stripes if after.stripe else ())
        counts += Counts(scanned=sum(of_stripes[lane.stripe : lane.stripe + 1]))
        self._advance(lane, after, counts, seconds=elapsed)
        return after

    def _advance(self, lane: Lane, after: Lane, counts: Counts, *, seconds: float) -> None:
        if not lanes.advance(
            self.connection,
            lane,
            after,
            scanned=counts.scanned,
            updated=counts.updated,
            quarantined=counts.quarantined,
            rewritten=counts.rewritten,
            seconds=seconds,
        ):
            raise LaneLost("Another worker took this lane over. The batch was rolled back.")

    def _wait_for_rows(self, lane: Lane, conflicts: int) -> None:
        """Back off from a lock conflict with full jitter, and report the wait."""
        lanes.keep(self.connection, lane)
        self.control.report_wait("rows locked by the application")
        pause(random.uniform(0.05, min(2.0, 0.1 * 2**conflicts)), self.control)


def count_unfilled(connection: Connection, action: Fill | Compute, job: int) -> int:
    """The final sweep: how many rows are neither right nor in quarantine.

    Zero, and only that, ends a backfill.
    """
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET lock_timeout = 0")
    except_for = (
        quarantine.none_of(job, action.table)
        if quarantine.count(connection, job)
        else sql.SQL("true")
    )
    try:
        row = connection.execute(action.unfilled(except_for)).fetchone()
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise
        if isinstance(action, Fill) and action.careful is not None:
            return count_unfilled(connection, action.careful, job)
        return 1  # A row that cannot be asked for its value: the next round keeps it aside.
    return int(row[0]) if row else 0
