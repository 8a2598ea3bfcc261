"""Runs an audit: its scans in one snapshot, and their result."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from psycopg import sql

from rollout.engine import lanes
from rollout.engine.audit.categories import (
    MISMATCHED,
    AuditResult,
    Cell,
    RowMismatch,
    Sample,
    worst,
)
from rollout.engine.audit.random_samples import Function, computed_again, population, sampled
from rollout.engine.audit.readiness import (
    authority_of,
    refusal_to_audit,
    snapshot_of,
    why_archive_is_torn,
)
from rollout.engine.audit.rows import is_one_of, mismatches_of
from rollout.engine.audit.scan import Combination, TableScan, sorted_cells
from rollout.engine.catalog import live_columns, tables_of
from rollout.engine.control import Control
from rollout.engine.mapping import review_counts_of
from rollout.engine.pace import Pace
from rollout.engine.target import Connection
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import Lookup

# A larger table is read in chunks; a smaller one in one statement, which may be parallel.
CHUNKED_FROM_BLOCKS = 500_000
FIRST_CHUNK_BLOCKS = 2_000
EVERY_ROW = sql.SQL("true")


class Auditor:
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
        *,
        refusing: bool,
    ) -> None:
        self.jobs_of, self.refusing = jobs_of, refusing
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
            reason = refusal_to_audit(
                self.connection, self.plan, table, set(live.get(table.label, {}))
            )
            if reason:
                self.result.inconclusive = reason
                return
        if not tables:
            self.result.inconclusive = (
                "The plan has no such table to audit. Name a table of the plan."
            )
            return
        self.result.snapshot = snapshot_of(self.connection)
        self.result.authority = authority_of(self.connection, self.plan, live, tables)
        for table in tables:
            gone = any(c not in live[table.label] for c in self.plan.legacy_of(table))
            torn = why_archive_is_torn(self.connection, self.plan, table) if gone else ""
            if torn:
                self.result.inconclusive = torn
                return
        self.blocks = sum(
            leaf.blocks for table in tables for leaf in lanes.leaves(self.connection, table)
        )
        digest = hashlib.sha256()
        for table in tables:
            columns = set(live[table.label])
            jobs = self.jobs_of(table.label)
            scan = TableScan(
                self.connection, self.plan, table, columns, jobs, refusing=self.refusing
            )
            self.scans.append(scan)
            for pairs in scan.lookups:
                digest.update(pairs.digest.encode())
                self._count_reviewed(pairs.lookup)
            self._audit_table(scan, sample, function_of)
        self.result.mapping_digest = digest.hexdigest()[:12]
        self.result.sql_digest = self._queries.hexdigest()[:12]

    def _count_reviewed(self, lookup: Lookup) -> None:
        """How many values of a mapping people have decided on, in the snapshot that is compared."""
        counts = review_counts_of(self.connection, self.plan, lookup)
        if counts is None:
            return
        result = self.result
        result.mapping_values += counts.values
        result.mapping_reviewed += counts.reviewed
        moments = (result.mapping_at, counts.reviewed_at)
        result.mapping_at = max((at for at in moments if at), default=None)

    def _audit_table(
        self,
        scan: TableScan,
        sample: Sample | None,
        function_of: Callable[[str], Function] | None,
    ) -> None:
        self._queries.update(scan.query(EVERY_ROW).as_string().encode())
        condition: sql.Composable = EVERY_ROW
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
            mismatches = mismatches_of(self.connection, scan, list(combinations), condition)
            self.result.mismatches += islice(mismatches, self.store - len(self.result.mismatches))
        if sample is not None and function_of is not None:
            self._compute_again(scan, function_of, condition)

    def _scan(
        self, scan: TableScan, condition: sql.Composable, *, whole: bool
    ) -> Counter[Combination]:
        leaves = lanes.leaves(self.connection, scan.table)
        blocks = sum(leaf.blocks for leaf in leaves)
        combinations: Counter[Combination] = Counter()
        if whole or blocks <= CHUNKED_FROM_BLOCKS:
            self.control.raise_if_stopped()
            self._count(scan.query(condition), combinations)
            self._report_progress(blocks)
            return combinations
        for leaf in leaves:
            first, size = 0, FIRST_CHUNK_BLOCKS
            while first < leaf.blocks or first == 0:
                if self.pace is not None:
                    self.pace.before_batch(self.control, _nothing)
                self.control.raise_if_stopped()
                # Rows that come after the last block are no part of the snapshot.
                range_ = sql.SQL("t.ctid >= {}::tid AND t.ctid < {}::tid").format(
                    sql.Literal(f"({first},0)"), sql.Literal(f"({first + size},0)")
                )
                started = time.monotonic()
                self._count(scan.query(range_, leaf.identifier), combinations)
                took = max(time.monotonic() - started, 0.001)
                self._report_progress(min(size, leaf.blocks - first))
                first += size
                if self.pace is not None:
                    self.pace.after_batch(took, self.control, _nothing)
                    factor = min(1.3, max(0.25, self.pace.target_seconds / took))
                    size = max(64, int(size * factor))
        return combinations

    def _count(self, query: sql.Composed, combinations: Counter[Combination]) -> None:
        for *values, rows in self.connection.execute(query):
            combinations[tuple(values)] += rows

    def _report_progress(self, blocks: int) -> None:
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
            for mismatch in computed_again(self.connection, scan, computed, function, condition):
                self.recount(mismatch, "ok", mismatch.category)
                self._recount_row(scan, mismatch)
                self.result.mismatches.append(mismatch)

    def _recount_row(self, scan: TableScan, mismatch: RowMismatch) -> None:
        """Count a row in the function's category where that is worse than SQL's."""
        key = is_one_of(scan, [mismatch.key_parts])
        rows = self.connection.execute(scan.query(key)).fetchall()
        known = [m.category for m in self.result.mismatches if m.key == mismatch.key]
        for *values, _ in rows:
            before = worst([category for _, _, category in scan.classified(tuple(values))] + known)
            counts = self.result.by_table[scan.table.label]
            counts[before] -= 1
            counts[worst([before, mismatch.category])] += 1

    def recount(self, mismatch: RowMismatch, before: str, after: str) -> None:
        """Move one row of a translation to another category."""
        for translation in self.result.translations:
            if (translation.table, translation.column) != (mismatch.table, mismatch.column):
                continue
            cells = {(c.legacy, c.new, c.category): c.rows for c in translation.cells}
            lookup = bool(translation.lookup_table)
            pair = (mismatch.legacy, mismatch.actual) if lookup else (None, None)
            cells[*pair, before] = cells.get((*pair, before), 0) - 1
            cells[*pair, after] = cells.get((*pair, after), 0) + 1
            translation.cells = sorted_cells(
                Cell(*cell, count) for cell, count in cells.items() if count
            )


def _nothing() -> None:
    """An audit holds no lane that it would have to keep."""
