"""Checks mismatched rows again: what is right by then was a write in flight."""

from collections import defaultdict
from collections.abc import Sequence

from rollout.engine.audit.auditor import Auditor
from rollout.engine.audit.categories import RowMismatch, worst
from rollout.engine.audit.rows import is_one_of, mismatches_of
from rollout.engine.audit.scan import TableScan
from rollout.engine.target import Connection

BATCH_SIZE = 1000


def recheck(auditor: Auditor) -> None:
    """Read the rows that mismatched once more, outside the snapshot."""
    result = auditor.result
    still: list[RowMismatch] = []
    for scan in auditor.scans:
        mismatched = [m for m in result.mismatches if m.table == scan.table.label]
        columns = {m.column for m in mismatched if m.category == "computed_differs"}
        recomputed = {", ".join(c.columns) for c in auditor.plan.computed_of(scan.table)} & columns
        # Texts and lookup rows may have come with the writes.
        fresh = TableScan(
            *(auditor.connection, auditor.plan, scan.table, scan.columns, scan.jobs), refusing=True
        )
        for first in range(0, len(mismatched), BATCH_SIZE):
            batch = mismatched[first : first + BATCH_SIZE]
            now = _mismatching_now(auditor.connection, fresh, batch)
            still += [m for m in batch if m.column in recomputed or (m.key, m.column) in now]
    kept = {(m.table, m.key, m.column) for m in still}
    by_row: dict[tuple[str, str], list[RowMismatch]] = defaultdict(list)
    for mismatch in result.mismatches:
        by_row[mismatch.table, mismatch.key].append(mismatch)
    for (table, key), mismatches in by_row.items():
        counts = result.by_table[table]
        left = [m.category for m in mismatches if (table, key, m.column) in kept]
        counts[worst([m.category for m in mismatches])] -= 1
        counts[worst(left) if left else "transient"] += 1
        for mismatch in mismatches:
            if (table, key, mismatch.column) not in kept:
                auditor.recount(mismatch, mismatch.category, "transient")
    result.mismatches = still


def _mismatching_now(
    connection: Connection, scan: TableScan, mismatches: Sequence[RowMismatch]
) -> set[tuple[str, str]]:
    """Which of the rows still mismatch, in which column."""
    keys = is_one_of(scan, [m.key_parts for m in mismatches])
    with connection.transaction():
        rows = connection.execute(scan.query(keys)).fetchall()
        fresh = mismatches_of(connection, scan, [row[:-1] for row in rows], keys)
        return {(m.key, m.column) for m in fresh}
