"""Chooses how a pass over a table is done, says why, and estimates what it will cost."""

import time
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from rollout.engine import lanes, quarantine
from rollout.engine.backfill import LOCK_TIMEOUT_MS
from rollout.engine.pace import TARGET_MS
from rollout.engine.target import Connection
from rollout.plan.actions import Compute, Fill, Pass
from rollout.plan.copies import Copy
from rollout.plan.proofs import Proof
from rollout.plan.session_settings import ANNOUNCE
from rollout.plan.table import Table

MAX_STRIPES = 16
_ROWS_PER_STRIPE_AND_PAGE = 2
_SAMPLE_BLOCKS = 100
_SAMPLES = 5
_BLOCKS_OF_A_SAMPLE = 20


@dataclass(frozen=True)
class FillPlan:
    """What was chosen for a pass, and why, in words."""

    blocks: int
    estimated_rows: int
    stripes: int
    explanation: str


@dataclass(frozen=True)
class Estimate:
    """What a pass will cost, from a sample that was rolled back. Bytes, rows and seconds."""

    rows: int
    seconds: float
    wal_bytes: int
    disk_bytes: int
    sampled_rows: int


def choose(connection: Connection, action: Pass) -> FillPlan:
    """Choose the number of stripes from rows per page and from whether HOT updates are possible."""
    blocks, rows = _size(connection, action.table)
    per_page = rows / max(blocks, 1)
    if action.named is not None:
        blocks = len(lanes.blocks_of(connection, action.table, action.named))
        return FillPlan(
            blocks,
            round(per_page * blocks),
            1,
            f"Reads only the {blocks:,} block{'' if blocks == 1 else 's'} of the named rows. "
            f"Target {TARGET_MS} ms per batch.",
        )
    size = f"{blocks:,} blocks of about {per_page:.0f} rows"
    manner = (
        f"Target {TARGET_MS} ms per batch; yields to application locks after "
        f"{LOCK_TIMEOUT_MS} ms. Work is split into lanes of {lanes.LANE_BLOCKS:,} blocks, shared "
        "by workers."
    )
    if isinstance(action, Compute):
        return FillPlan(
            blocks,
            rows,
            1,
            f"One stripe: the Python function dominates, not writing. {size}. {manner}",
        )
    if isinstance(action, Proof):
        return FillPlan(blocks, rows, 1, f"One stripe: nothing is written. {size}. {manner}")
    if isinstance(action, Copy):
        return FillPlan(
            blocks, rows, 1, f"One stripe: no row of the table is written. {size}. {manner}"
        )
    index = connection.execute(
        sql.SQL(
            "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_attribute a"
            " ON a.attrelid = i.indrelid AND (a.attnum = ANY (i.indkey) OR EXISTS ("
            "SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
            " AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))"
            " WHERE (i.indrelid = {0} OR i.indrelid IN (SELECT relid FROM pg_partition_tree({0})))"
            " AND a.attname = ANY ({1}) ORDER BY 1 LIMIT 1"
        ).format(action.table.regclass, sql.Literal([a.column for a in action.assignments]))
    ).fetchone()
    if index:
        return FillPlan(
            blocks,
            rows,
            1,
            f"One stripe: HOT updates are not possible, because index {index[0]} covers a "
            f"written column. Build it after the backfill instead. {size}. {manner}",
        )
    stripes = 1
    while stripes < MAX_STRIPES and per_page / stripes > _ROWS_PER_STRIPE_AND_PAGE * 1.5:
        stripes *= 2
    return FillPlan(
        blocks,
        rows,
        stripes,
        f"{stripes} stripes of about {per_page / stripes:.0f} rows per page, so that updates "
        f"stay in their page (HOT): {size}. No index covers a written column. {manner}",
    )


def estimated_rows(connection: Connection, table: Table) -> int:
    """The rows of a table, as its statistics or a sample of its first blocks suggest."""
    return _size(connection, table)[1]


def _size(connection: Connection, table: Table) -> tuple[int, int]:
    """Blocks, and rows as the statistics or a sample of the first blocks suggest."""
    blocks = rows = 0
    for leaf in lanes.leaves(connection, table):
        per_block = leaf.rows_per_block
        if per_block is None:
            blocks = min(leaf.blocks, _SAMPLE_BLOCKS)
            counted = connection.execute(
                sql.SQL("SELECT count(*) FROM {} AS t WHERE t.ctid < {}::tid").format(
                    leaf.identifier, sql.Literal(f"({blocks},0)")
                )
            ).fetchone()
            per_block = (counted[0] if counted else 0) / max(blocks, 1)
        blocks += leaf.blocks
        rows += int(per_block * leaf.blocks)
    return blocks, rows


def estimate(connection: Connection, fill: Fill) -> Estimate:
    """Try the pass out on a few short ranges, each in a transaction that is rolled back.

    The sample's WAL holds whatever else the server wrote meanwhile, so it errs upwards. The disk is
    what the updated rows would take if none found room in its page: an upper bound. A range that
    the application holds rows of, or that has rows which the database refuses, is left out.
    """
    chosen = choose(connection, fill)
    trial = fill.with_constants()
    tried: list[_Trial] = []
    for leaf in lanes.leaves(connection, fill.table):
        step = max(leaf.blocks // _SAMPLES, 1)
        for first in range(0, leaf.blocks, step):
            condition = sql.SQL("t.ctid >= {}::tid AND t.ctid < {}::tid").format(
                sql.Literal(f"({first},0)"), sql.Literal(f"({first + _BLOCKS_OF_A_SAMPLE},0)")
            )
            try:
                tried.append(
                    _try_out(connection, trial.update(condition, relation=leaf.identifier))
                )
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                continue
            except psycopg.Error as error:
                if not quarantine.is_of_a_row(error):
                    raise
    rows = sum(trial.rows for trial in tried)
    if not rows:
        return Estimate(chosen.estimated_rows, 0.0, 0, 0, 0)
    share = chosen.estimated_rows / rows
    return Estimate(
        rows=chosen.estimated_rows,
        seconds=sum(trial.seconds for trial in tried) * share,
        wal_bytes=int(sum(trial.wal_bytes for trial in tried) * share),
        disk_bytes=int(sum(trial.row_bytes for trial in tried) * share),
        sampled_rows=rows,
    )


@dataclass(frozen=True)
class _Trial:
    """What updating one range cost; ``row_bytes`` is what its rows take, all together."""

    rows: int
    row_bytes: int
    seconds: float
    wal_bytes: int


def _try_out(connection: Connection, update: sql.Composed) -> _Trial:
    """Run an UPDATE and roll it back. Raises psycopg.Error."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS))
        )
        connection.execute(ANNOUNCE)
        before = _position(connection)
        started = time.perf_counter()
        row = connection.execute(
            sql.SQL(
                "WITH written AS ({} RETURNING pg_column_size(t.*) AS size)"
                " SELECT count(*), coalesce(sum(size), 0)::bigint FROM written"
            ).format(update)
        ).fetchone()
        assert row is not None
        return _Trial(row[0], row[1], time.perf_counter() - started, _position(connection) - before)


def _position(connection: Connection) -> int:
    """How many bytes of WAL have ever been written."""
    row = connection.execute(
        "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    ).fetchone()
    assert row is not None
    return int(row[0])
