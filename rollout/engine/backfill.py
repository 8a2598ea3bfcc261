"""Brings columns of every row to their right value, in block ranges and stripes, beside writers.

A lane is a range of the table's blocks. Its worker goes through it in short ranges; each range is
done in ``stripes`` statements, of which each takes the rows of one hash class of the key, in a
transaction of its own. Between them PostgreSQL prunes the row versions that the statement before
left behind, so most updates find room in their own page. The lane's position and counters are
written in the transaction of the rows themselves, so a crash replays and double-counts nothing.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import errors, sql

from rollout.engine.control import Control, Interrupted
from rollout.engine.target import Connection
from rollout.plan.actions import Fill

TARGET_SECONDS = 0.075
"""How long a batch should take: the longest that the application waits for a row of it."""
LOCK_TIMEOUT_MS = 100
"""Far below deadlock_timeout: in a conflict the backfill yields, never the application."""
LEASE_SECONDS = 10
FIRST_RANGE_BLOCKS = 128
LONGEST_RANGE_BLOCKS = 8192
MOST_STRIPES = 16
_ROW_TARGET_PER_STRIPE_AND_PAGE = 4


@dataclass(frozen=True)
class FillPlan:
    """What was chosen for a pass, and why, in words."""

    blocks: int
    estimated_rows: int
    stripes: int
    explanation: str


@dataclass(frozen=True)
class Lane:
    """A worker's hold on a block range: where it is, and the token that fences off all others."""

    job: int
    number: int
    token: int
    end_block: int
    next_block: int
    range_end: int
    range_blocks: int
    stripe: int


def choose(connection: Connection, fill: Fill) -> FillPlan:
    """Choose the number of stripes from rows per page and from whether HOT updates are possible."""
    row = connection.execute(
        sql.SQL(
            "SELECT pg_relation_size({0}) / current_setting('block_size')::int, reltuples::bigint,"
            " relpages FROM pg_class WHERE oid = {0}"
        ).format(fill.table.regclass)
    ).fetchone()
    assert row is not None, "a plan's table exists: the schema was compared before"
    blocks, tuples, pages = row
    if tuples <= 0 or pages <= 0:
        tuples, pages = _sampled_density(connection, fill, blocks)
    per_page = tuples / max(pages, 1)
    estimated_rows = int(per_page * blocks)
    index = connection.execute(
        sql.SQL(
            "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_attribute a"
            " ON a.attrelid = i.indrelid AND (a.attnum = ANY (i.indkey) OR EXISTS ("
            "SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
            " AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))"
            " WHERE i.indrelid = {} AND a.attname = ANY ({}) ORDER BY 1 LIMIT 1"
        ).format(fill.table.regclass, sql.Literal([a.column for a in fill.assignments]))
    ).fetchone()
    if index:
        return FillPlan(
            blocks,
            estimated_rows,
            1,
            f"One stripe: index {index[0]} covers a column that is written, so an update can never "
            f"stay in its page. Building that index after the backfill would be faster. "
            f"{blocks:,} blocks, about {per_page:.0f} rows in each.",
        )
    stripes = 1
    while stripes < MOST_STRIPES and per_page / stripes > _ROW_TARGET_PER_STRIPE_AND_PAGE * 1.5:
        stripes *= 2
    return FillPlan(
        blocks,
        estimated_rows,
        stripes,
        f"{stripes} stripes: {blocks:,} blocks hold about {per_page:.0f} rows each, so a stripe "
        f"writes about {per_page / stripes:.0f} of a page's rows and the next one finds the room "
        "that it left. No index covers a column that is written: updates can stay in their page "
        "(HOT). Batches aim at "
        f"{TARGET_SECONDS * 1000:.0f} ms and yield to the application after {LOCK_TIMEOUT_MS} ms.",
    )


def _sampled_density(connection: Connection, fill: Fill, blocks: int) -> tuple[int, int]:
    """Rows and pages of the table's first blocks, where the statistics know nothing yet."""
    pages = min(blocks, 100)
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {} AS t WHERE t.ctid < {}::tid").format(
            fill.table.identifier, sql.Literal(f"({pages},0)")
        )
    ).fetchone()
    return (row[0] if row else 0), pages


def create_lanes(connection: Connection, job: int, blocks: int, *, lanes: int = 1) -> None:
    """Cut the table into lanes. Doing it twice changes nothing."""
    with connection.transaction():
        for number in range(lanes):
            first, end = blocks * number // lanes, blocks * (number + 1) // lanes
            connection.execute(
                "INSERT INTO rollout.lanes (job, lane, first_block, end_block, next_block,"
                " range_blocks, range_end, done) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [
                    job,
                    number,
                    first,
                    end,
                    first,
                    FIRST_RANGE_BLOCKS,
                    min(end, first + FIRST_RANGE_BLOCKS),
                    first >= end,
                ],
            )


def another_round(connection: Connection, job: int, blocks: int) -> None:
    """Send the lanes over the whole table once more, up to the blocks it has by now."""
    connection.execute(
        "UPDATE rollout.lanes SET next_block = first_block, stripe = 0, round = round + 1,"
        " end_block = CASE WHEN lane = (SELECT max(lane) FROM rollout.lanes WHERE job = %(job)s)"
        " THEN greatest(end_block, %(blocks)s) ELSE end_block END,"
        " range_end = first_block, done = false WHERE job = %(job)s AND done",
        {"job": job, "blocks": blocks},
    )


def claim(connection: Connection, job: int, holder: str) -> Lane | None:
    """Take a lane that nobody holds, or whose holder let its lease run out; None if there is none.

    The new token makes every commit of the former holder impossible.
    """
    row = connection.execute(
        """
        UPDATE rollout.lanes SET token = token + 1, holder = %(holder)s,
               lease_until = now() + make_interval(secs => %(lease)s)
         WHERE job = %(job)s AND lane = (
               SELECT lane FROM rollout.lanes
                WHERE job = %(job)s AND NOT done AND (lease_until IS NULL OR lease_until < now())
                ORDER BY lane LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING job, lane, token, end_block, next_block, range_end, range_blocks, stripe
        """,
        {"job": job, "holder": holder, "lease": LEASE_SECONDS},
    ).fetchone()
    return Lane(*row) if row else None


def release(connection: Connection, lane: Lane) -> None:
    """Let go of a lane that is still this worker's."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = NULL, holder = ''"
        " WHERE job = %s AND lane = %s AND token = %s",
        [lane.job, lane.number, lane.token],
    )


def is_finished(connection: Connection, job: int) -> bool:
    """Whether every lane has come to its end."""
    row = connection.execute(
        "SELECT bool_and(done) FROM rollout.lanes WHERE job = %s", [job]
    ).fetchone()
    return bool(row and row[0])


def prepare_session(connection: Connection) -> None:
    """Settings of a worker's session.

    Commits need not wait for the disk: rows and checkpoint are lost together or not at all.
    """
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))
    connection.execute("SET statement_timeout = '60s'")
    connection.execute("SET synchronous_commit = off")


def work(
    connection: Connection,
    fill: Fill,
    lane: Lane,
    *,
    stripes: int,
    seconds: float,
    control: Control,
    clock: Callable[[], float] = time.monotonic,
) -> Lane:
    """Go through a lane for about that many seconds, or to its end; the lane as it is then.

    Raises Interrupted when asked to stop or when the lane is no longer this worker's.
    """
    until = clock() + seconds
    conflicts = 0
    while lane.next_block < lane.end_block and clock() < until:
        control.check()
        started = clock()
        try:
            lane = _batch(connection, fill, lane, stripes, started, clock)
        except (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled):
            conflicts += 1
            _wait_for_rows(connection, lane, conflicts, control)
        else:
            if conflicts:
                conflicts = 0
                control.waiting("")
    if lane.next_block >= lane.end_block:
        _finish(connection, lane)
    return lane


def _batch(
    connection: Connection,
    fill: Fill,
    lane: Lane,
    stripes: int,
    started: float,
    clock: Callable[[], float],
) -> Lane:
    """One stripe of one range: the rows and the lane's checkpoint, in one transaction."""
    range_end = max(lane.range_end, min(lane.end_block, lane.next_block + 1))
    condition = sql.SQL(
        "t.ctid >= {}::tid AND t.ctid < {}::tid AND (hash_record(row({})) & {}) = {}"
    ).format(
        sql.Literal(f"({lane.next_block},0)"),
        sql.Literal(f"({range_end},0)"),
        fill.table.key_of("t"),
        sql.Literal(stripes - 1),
        sql.Literal(lane.stripe),
    )
    with connection.transaction():
        counted = connection.execute(
            sql.SQL(
                "WITH written AS ({} RETURNING 1) SELECT (SELECT count(*) FROM {} AS t WHERE {}),"
                " (SELECT count(*) FROM written)"
            ).format(fill.update(condition), fill.table.identifier, condition)
        ).fetchone()
        assert counted is not None
        scanned, updated = counted
        elapsed = max(clock() - started, 0.001)
        after = _next_position(lane, stripes, range_end, elapsed)
        kept = connection.execute(
            """
            UPDATE rollout.lanes SET next_block = %s, range_end = %s, range_blocks = %s,
                   stripe = %s, scanned = scanned + %s, updated = updated + %s,
                   working_seconds = working_seconds + %s,
                   rows_per_second = CASE WHEN rows_per_second = 0 THEN %s
                                          ELSE 0.9 * rows_per_second + 0.1 * %s END,
                   lease_until = now() + make_interval(secs => %s)
             WHERE job = %s AND lane = %s AND token = %s
            """,
            [
                after.next_block,
                after.range_end,
                after.range_blocks,
                after.stripe,
                scanned,
                updated,
                elapsed,
                scanned / elapsed,
                scanned / elapsed,
                LEASE_SECONDS,
                lane.job,
                lane.number,
                lane.token,
            ],
        ).rowcount
        if not kept:
            raise Interrupted("Another worker has taken this lane over; the batch was rolled back.")
    return after


def _next_position(lane: Lane, stripes: int, range_end: int, elapsed: float) -> Lane:
    """The lane after a batch: the next stripe of its range, or the first of the next range.

    The next range is as long as the slowest stripe of this one allows: fast down, slow up.
    """
    size = range_end - lane.next_block
    factor = min(1.3, max(0.25, TARGET_SECONDS / elapsed))
    fitting = max(1, min(LONGEST_RANGE_BLOCKS, int(size * factor) + (factor > 1)))
    blocks = fitting if lane.stripe == 0 else min(lane.range_blocks, fitting)
    if lane.stripe + 1 < stripes:
        return replace(lane, stripe=lane.stripe + 1, range_end=range_end, range_blocks=blocks)
    return replace(
        lane,
        stripe=0,
        next_block=range_end,
        range_end=min(lane.end_block, range_end + blocks),
        range_blocks=blocks,
    )


def _wait_for_rows(connection: Connection, lane: Lane, conflicts: int, control: Control) -> None:
    """Yield to whoever holds the rows: wait with full jitter, keeping the lease, and say so."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = now() + make_interval(secs => %s)"
        " WHERE job = %s AND lane = %s AND token = %s",
        [LEASE_SECONDS, lane.job, lane.number, lane.token],
    )
    control.waiting("rows that a transaction of the application holds")
    until = time.monotonic() + random.uniform(0.05, min(2.0, 0.1 * 2**conflicts))
    while (left := until - time.monotonic()) > 0:
        control.check()
        time.sleep(min(left, 0.2))


def _finish(connection: Connection, lane: Lane) -> None:
    """Mark the end of a lane, durably: what the journal is told next must not be lost here."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute(
            "UPDATE rollout.lanes SET done = true, lease_until = NULL, holder = ''"
            " WHERE job = %s AND lane = %s AND token = %s",
            [lane.job, lane.number, lane.token],
        )


def count_unfilled(connection: Connection, fill: Fill) -> int:
    """The final sweep: how many rows are not right. Zero, and only that, ends a backfill."""
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET lock_timeout = 0")
    row = connection.execute(fill.unfilled()).fetchone()
    return int(row[0]) if row else 0


def blocks_of(connection: Connection, fill: Fill) -> int:
    """The table's size in blocks, now."""
    row = connection.execute(
        sql.SQL("SELECT pg_relation_size({}) / current_setting('block_size')::int").format(
            fill.table.regclass
        )
    ).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True)
class Totals:
    """The counters of a job's lanes, added up. ``fraction`` is of blocks, from 0 to 1."""

    scanned: int
    updated: int
    working_seconds: float
    rows_per_second: float
    fraction: float
    round: int
    holders: tuple[str, ...]


def totals(connection: Connection, job: int) -> Totals:
    """Add up a job's lanes. A job without lanes has done nothing yet."""
    row = connection.execute(
        """
        SELECT coalesce(sum(scanned), 0)::bigint, coalesce(sum(updated), 0)::bigint,
               coalesce(sum(working_seconds), 0),
               coalesce(sum(rows_per_second) FILTER (WHERE NOT done), 0),
               coalesce(sum(next_block - first_block)::float
                        / nullif(sum(end_block - first_block), 0),
                        count(*)::int::boolean::int),
               coalesce(max(round), 1),
               coalesce(array_agg(holder) FILTER (WHERE lease_until > now()), '{}')
          FROM rollout.lanes WHERE job = %s
        """,
        [job],
    ).fetchone()
    assert row is not None
    scanned, updated, working_seconds, rows_per_second, fraction, round_, holders = row
    return Totals(
        scanned, updated, working_seconds, rows_per_second, fraction, round_, tuple(holders)
    )


def forget(connection: Connection, job: int) -> None:
    """Remove the lanes of a job whose totals the journal has."""
    connection.execute("DELETE FROM rollout.lanes WHERE job = %s", [job])
