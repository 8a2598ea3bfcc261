"""The audit: what every row's new values are, against what its legacy values say, exactly.

Each table is read once, in one snapshot for all of them. Rows that mismatch are read again a moment
later: what was right by then was a write in flight.
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from psycopg import IsolationLevel, sql
from psycopg.pq import TransactionStatus

from rollout.engine import lanes, quarantine
from rollout.engine.audit.categories import (
    CATEGORIES,
    MATCHED,
    MISMATCHED,
    STORED,
    AuditResult,
    Cell,
    RowMismatch,
    Sample,
    TranslationResult,
    worst,
)
from rollout.engine.audit.rows import is_one_of, mismatches_of
from rollout.engine.audit.sampling import Function, computed_again, population, sampled
from rollout.engine.audit.scan import Combination, TableScan, sorted_cells
from rollout.engine.catalog import live_columns, tables_of
from rollout.engine.control import Control, Quiet
from rollout.engine.pace import Pace
from rollout.engine.target import Connection, ask
from rollout.plan import facts
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.plan.step import Shape
from rollout.plan.table import Table

__all__ = [
    "CATEGORIES",
    "MATCHED",
    "MISMATCHED",
    "STORED",
    "AuditResult",
    "Cell",
    "CellNow",
    "RowMismatch",
    "Sample",
    "TranslationResult",
    "cells_of_row",
    "last_written",
    "mismatching_rows",
    "run_audit",
]

CHUNKED_FROM_BLOCKS = 500_000
"""A larger table is read in chunks; a smaller one in one statement, which may be parallel."""
FIRST_CHUNK_BLOCKS = 2_000
RECHECK_SECONDS = 1.0
_EVERY_ROW = sql.SQL("true")


def run_audit(
    connection: Connection,
    plan: Plan,
    *,
    tables: Collection[str] = (),
    sample: Sample | None = None,
    function_of: Callable[[str], Function] | None = None,
    jobs_of: Callable[[str], Sequence[int]] = lambda label: (),
    control: Control | None = None,
    pace: Pace | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    recheck_after: float = RECHECK_SECONDS,
    store: int = STORED,
) -> AuditResult:
    """Audit the translated tables of a plan, or those of the labels ``tables``.

    Every row in one snapshot, or a ``sample`` of rows, for which ``function_of`` gives a computed
    column's function by its dotted path. ``jobs_of`` gives the jobs that computed a table, by its
    label: what is in their quarantine is known. ``progress`` is told blocks done and in total.
    Inside a transaction of the caller its snapshot is used, and nothing is read again; otherwise
    the connection can only read from then on. Raises Interrupted and psycopg.Error.
    """
    chosen = [t for t in plan.audited_tables if not tables or t.label in tables]
    alone = connection.info.transaction_status == TransactionStatus.IDLE
    connection.execute("SET statement_timeout = 0")
    if alone:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
    auditor = _Auditor(connection, plan, control or Quiet(), pace, progress, store, jobs_of)
    with connection.transaction():
        auditor.audit(chosen, sample, function_of)
    result = auditor.result
    if alone and result.mismatches and result.all_stored:
        _wait(recheck_after, control or Quiet())
        auditor.look_again()
    return result


def mismatching_rows(connection: Connection, plan: Plan, table: Table) -> Iterator[RowMismatch]:
    """Every mismatching row of a table now, streamed: as many as there are."""
    columns = set(live_columns(connection, tables_of(plan)).get(table.label, {}))
    connection.execute("SET statement_timeout = 0")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        scan = TableScan(connection, plan, table, columns)
        rows = connection.execute(scan.query(table.identifier, _EVERY_ROW)).fetchall()
        yield from mismatches_of(connection, scan, [row[:-1] for row in rows], _EVERY_ROW)


@dataclass(frozen=True)
class CellNow:
    """What a row holds now in one translation."""

    column: str
    legacy: str | None
    new: str | None
    category: str
    lookup: bool
    """Whether legacy text and lookup row are told; an expression has a category alone."""


def cells_of_row(
    connection: Connection, plan: Plan, table: Table, key: Sequence[str]
) -> list[CellNow]:
    """What a row holds now, by the same rules as an audit; nothing when it is gone."""
    columns = set(live_columns(connection, tables_of(plan)).get(table.label, {}))
    if why_not(connection, plan, table, columns):
        return []
    scan = TableScan(connection, plan, table, columns)
    condition = is_one_of(scan, [list(key)])
    rows = connection.execute(scan.query(table.identifier, condition)).fetchall()
    names = [rules.lookup.column for rules in scan.lookups]
    names += [question.column for question in scan.questions]
    return [
        CellNow(name, *cell, lookup=number < len(scan.lookups))
        for *values, _ in rows
        for number, (name, cell) in enumerate(
            zip(names, scan.classified(tuple(values)), strict=True)
        )
    ]


def last_written(connection: Connection, table: Table, key: Sequence[str]) -> datetime | None:
    """When the row was last written, where the server keeps the times of commits."""
    setting = connection.execute("SHOW track_commit_timestamp").fetchone()
    if not setting or setting[0] != "on":
        return None
    row = connection.execute(
        sql.SQL("SELECT pg_xact_commit_timestamp(xmin) FROM {} AS t WHERE {}").format(
            table.identifier, quarantine.is_row(table, key)
        )
    ).fetchone()
    return row[0] if row else None


class _Auditor:
    """One audit: its scans and what they found."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        control: Control,
        pace: Pace | None,
        progress: Callable[[int, int], None],
        store: int,
        jobs_of: Callable[[str], Sequence[int]],
    ) -> None:
        self.jobs_of = jobs_of
        self.connection, self.plan, self.control = connection, plan, control
        self.pace, self.progress, self.store = pace, progress, store
        self.result = AuditResult()
        self.scans: list[TableScan] = []
        self.done = self.blocks = 0
        self._queries = hashlib.sha256()

    def audit(
        self,
        tables: Sequence[Table],
        sample: Sample | None,
        function_of: Callable[[str], Function] | None,
    ) -> None:
        """Scan the tables in the transaction's snapshot."""
        live = live_columns(self.connection, tables_of(self.plan))
        for table in tables:
            reason = why_not(self.connection, self.plan, table, set(live.get(table.label, {})))
            if reason:
                self.result.inconclusive = reason
                return
        if not tables:
            self.result.inconclusive = "The plan has no table of that name that could be audited."
            return
        self.result.snapshot = _snapshot(self.connection)
        self.result.direction = _direction(self.connection, self.plan, live, tables)
        self.blocks = sum(
            leaf.blocks for table in tables for leaf in lanes.leaves(self.connection, table)
        )
        digest = hashlib.sha256()
        for table in tables:
            columns = set(live[table.label])
            jobs = self.jobs_of(table.label)
            scan = TableScan(self.connection, self.plan, table, columns, jobs)
            self.scans.append(scan)
            for rules in scan.lookups:
                digest.update(rules.digest.encode())
            self._audit_table(scan, sample, function_of)
        self.result.mapping_digest = digest.hexdigest()[:12]
        self.result.sql_digest = self._queries.hexdigest()[:12]

    def _audit_table(
        self,
        scan: TableScan,
        sample: Sample | None,
        function_of: Callable[[str], Function] | None,
    ) -> None:
        self._queries.update(scan.query(scan.table.identifier, _EVERY_ROW).as_string().encode())
        condition: sql.Composable = _EVERY_ROW
        if sample is not None:
            rows = population(self.connection, scan)
            self.result.populations[scan.table.label] = rows
            condition = sampled(self.connection, scan, sample, rows)
        combinations = self._scan(scan, condition, whole=sample is not None)
        per_row, translations = scan.results(combinations)
        self.result.by_table[scan.table.label] = per_row
        self.result.translations += translations
        if sample is None:
            self.result.populations[scan.table.label] = per_row.total()
        if set(per_row) & set(MISMATCHED):
            found = mismatches_of(self.connection, scan, list(combinations), condition)
            self.result.mismatches += islice(found, self.store - len(self.result.mismatches))
        if sample is not None and function_of is not None:
            self._compute_again(scan, function_of, condition)

    def _scan(
        self, scan: TableScan, condition: sql.Composable, *, whole: bool
    ) -> Counter[Combination]:
        leaves = lanes.leaves(self.connection, scan.table)
        blocks = sum(leaf.blocks for leaf in leaves)
        combinations: Counter[Combination] = Counter()
        if whole or blocks <= CHUNKED_FROM_BLOCKS:
            self.control.check()
            self._count(scan.query(scan.table.identifier, condition), combinations)
            self._went_on(blocks)
            return combinations
        for leaf in leaves:
            first, size = 0, FIRST_CHUNK_BLOCKS
            while first < leaf.blocks or first == 0:
                if self.pace is not None:
                    self.pace.before_batch(self.control, _nothing)
                self.control.check()
                # Rows that come after the last block are no part of the snapshot.
                range_ = sql.SQL("t.ctid >= {}::tid AND t.ctid < {}::tid").format(
                    sql.Literal(f"({first},0)"), sql.Literal(f"({first + size},0)")
                )
                started = time.monotonic()
                self._count(scan.query(leaf.identifier, range_), combinations)
                took = max(time.monotonic() - started, 0.001)
                self._went_on(min(size, leaf.blocks - first))
                first += size
                if self.pace is not None:
                    self.pace.after_batch(took, self.control, _nothing)
                    factor = min(1.3, max(0.25, self.pace.target_seconds / took))
                    size = max(64, int(size * factor))
        return combinations

    def _count(self, query: sql.Composed, combinations: Counter[Combination]) -> None:
        for *values, rows in self.connection.execute(query):
            combinations[tuple(values)] += rows

    def _went_on(self, blocks: int) -> None:
        self.done += blocks
        self.progress(self.done, self.blocks)

    def _compute_again(
        self,
        scan: TableScan,
        function_of: Callable[[str], Function],
        condition: sql.Composable,
    ) -> None:
        for computed in self.plan.computed_of(scan.table):
            function = function_of(computed.function)
            for found in computed_again(self.connection, scan, computed, function, condition):
                self._recount(found, "ok", found.category)
                self._recount_row(scan, found)
                self.result.mismatches.append(found)

    def _recount_row(self, scan: TableScan, found: RowMismatch) -> None:
        """Count a row as what a function said of it, where that is worse than what SQL said."""
        key = is_one_of(scan, [found.key_parts])
        rows = self.connection.execute(scan.query(scan.table.identifier, key)).fetchall()
        known = [m.category for m in self.result.mismatches if m.key == found.key]
        for *values, _ in rows:
            before = worst([category for _, _, category in scan.classified(tuple(values))] + known)
            counts = self.result.by_table[scan.table.label]
            counts[before] -= 1
            counts[worst([before, found.category])] += 1

    def look_again(self) -> None:
        """Read the rows that mismatched once more, outside the snapshot."""
        still: list[RowMismatch] = []
        for scan in self.scans:
            mismatched = [m for m in self.result.mismatches if m.table == scan.table.label]
            columns = {m.column for m in mismatched if m.category == "computed_differs"}
            recomputed = {", ".join(c.columns) for c in self.plan.computed_of(scan.table)} & columns
            for first in range(0, len(mismatched), 1000):
                some = mismatched[first : first + 1000]
                now = self._now(scan, some)
                still += [m for m in some if m.column in recomputed or (m.key, m.column) in now]
        kept = {(m.table, m.key, m.column) for m in still}
        by_row: dict[tuple[str, str], list[RowMismatch]] = defaultdict(list)
        for mismatch in self.result.mismatches:
            by_row[mismatch.table, mismatch.key].append(mismatch)
        for (table, key), mismatches in by_row.items():
            counts = self.result.by_table[table]
            left = [m.category for m in mismatches if (table, key, m.column) in kept]
            counts[worst([m.category for m in mismatches])] -= 1
            counts[worst(left) if left else "transient"] += 1
            for mismatch in mismatches:
                if (table, key, mismatch.column) not in kept:
                    self._recount(mismatch, mismatch.category, "transient")
        self.result.mismatches = still

    def _now(self, scan: TableScan, some: Sequence[RowMismatch]) -> set[tuple[str, str]]:
        """Which of the rows still mismatch, in which column."""
        keys = is_one_of(scan, [m.key_parts for m in some])
        with self.connection.transaction():
            rows = self.connection.execute(scan.query(scan.table.identifier, keys)).fetchall()
            fresh = mismatches_of(self.connection, scan, [row[:-1] for row in rows], keys)
            return {(m.key, m.column) for m in fresh}

    def _recount(self, found: RowMismatch, before: str, after: str) -> None:
        """Move one row of a translation to another category."""
        for translation in self.result.translations:
            if (translation.table, translation.column) != (found.table, found.column):
                continue
            cells = {(c.legacy, c.new, c.category): c.rows for c in translation.cells}
            lookup = bool(translation.lookup_table)
            pair = (found.legacy, found.actual) if lookup else (None, None)
            cells[*pair, before] = cells.get((*pair, before), 0) - 1
            cells[*pair, after] = cells.get((*pair, after), 0) + 1
            translation.cells = sorted_cells(
                Cell(*cell, count) for cell, count in cells.items() if count
            )


def why_not(connection: Connection, plan: Plan, table: Table, columns: set[str]) -> str:
    """Why a table cannot be audited yet, with what to do about it; empty where it can."""
    wanted = [t.column for t in plan.translations_of(table)]
    wanted += [column for t in plan.computed_of(table) for column in t.columns]
    absent = [column for column in wanted if column not in columns]
    if absent:
        return (
            f"{table.label} has no column {absent[0]} yet, so there is nothing to compare. "
            "Start phase 1 and phase 2 first."
        )
    for lookup in plan.lookups_of(table):
        name = lookup.mapping_name(plan.name)
        if lookup.legacy not in columns or _exists(connection, name):
            continue
        if _exists(connection, lookup.archived_mapping_name(plan.name)):
            return (
                f"Phase 4 is taking {table.label}.{lookup.legacy} away at this moment. Wait for "
                "its end, or let it go on, then audit again."
            )
        return (
            f"{table.label}.{lookup.legacy} has no mapping yet, so nothing says what its "
            "values should become. Start phase 2 first."
        )
    return ""


def _exists(connection: Connection, name: str) -> bool:
    return ask(connection, facts.relation_exists(sql.Identifier(SCHEMA, name)))


def _snapshot(connection: Connection) -> str:
    """PostgreSQL's name of the snapshot, and the WAL position beside it."""
    row = connection.execute(
        "SELECT pg_current_snapshot()::text, CASE WHEN pg_is_in_recovery()"
        " THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text"
    ).fetchone()
    return " at ".join(filter(None, row)) if row else ""


def _direction(connection: Connection, plan: Plan, live: Shape, tables: Sequence[Table]) -> str:
    if any(
        lookup.legacy not in live[table.label]
        for table in tables
        for lookup in plan.lookups_of(table)
    ):
        return "archive"
    if not _exists(connection, "modes"):
        return "forward"
    row = connection.execute(
        "SELECT write_mode FROM rollout.modes WHERE plan = %s", [plan.name]
    ).fetchone()
    return "reverse" if row and row[0] == "new" else "forward"


def _wait(seconds: float, control: Control) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        control.check()
        time.sleep(min(left, 0.2))


def _nothing() -> None:
    """An audit holds no lane that it would have to keep."""
