"""The audit: what every row's new values are, against what its legacy values say, exactly.

Each table is read once, in one snapshot for all of them. Rows that mismatch are read again a moment
later: what was right by then was a write in flight.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from rollout.engine.audit.auditor import EVERY_ROW, Auditor
from rollout.engine.audit.categories import (
    CATEGORIES,
    MATCHED,
    MAX_STORED_MISMATCHES,
    MISMATCHED,
    AuditResult,
    Cell,
    RowMismatch,
    Sample,
    TranslationResult,
)
from rollout.engine.audit.random_samples import Function
from rollout.engine.audit.rechecks import recheck
from rollout.engine.audit.row_checks import CellNow, cells_of_row, keys_of_pair, last_written
from rollout.engine.audit.rows import mismatches_of
from rollout.engine.audit.scan import TableScan
from rollout.engine.catalog import columns_of
from rollout.engine.control import Control, NullControl, pause
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.pace import Pace
from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import Connection
from rollout.plan.plan import Plan
from rollout.plan.table import Table

__all__ = [
    "CATEGORIES",
    "MATCHED",
    "MAX_STORED_MISMATCHES",
    "MISMATCHED",
    "AuditResult",
    "Cell",
    "CellNow",
    "RowMismatch",
    "Sample",
    "TranslationResult",
    "cells_of_row",
    "keys_of_pair",
    "last_written",
    "mismatching_rows",
    "run_audit",
]

RECHECK_SECONDS = 1.0


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
    store: int = MAX_STORED_MISMATCHES,
) -> AuditResult:
    """Audit the translated tables of a plan, or those of the labels ``tables``.

    Every row in one snapshot, or a ``sample`` of rows, for which ``function_of`` gives a computed
    column's function by its dotted path. ``jobs_of`` gives the jobs that computed a table, by its
    label: what is in their quarantine is known. ``progress`` gets the blocks done and in total.
    Inside a transaction of the caller its snapshot is used, and nothing is read again; otherwise
    the connection can only read from then on. Raises Interrupted and psycopg.Error.
    """
    plan = with_names_of_now(connection, plan)
    chosen = [t for t in plan.audited_tables if not tables or t.label in tables]
    alone = connection.info.transaction_status == TransactionStatus.IDLE
    connection.execute("SET statement_timeout = 0")
    if alone:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True

    def audited(*, refusing: bool) -> Auditor:
        auditor = Auditor(
            *(connection, plan, control or NullControl(), pace, progress, store, jobs_of),
            refusing=refusing,
        )
        with connection.transaction():
            auditor.audit(chosen, sample, function_of)
        return auditor

    try:
        auditor = audited(refusing=False)
    except psycopg.Error as error:
        if not is_of_a_row(error):
            raise
        # Some row's value cannot be computed. Finding out which costs more for each row.
        auditor = audited(refusing=True)
    result = auditor.result
    if alone and result.mismatches and result.all_stored:
        pause(recheck_after, control or NullControl())
        recheck(auditor)
    return result


def mismatching_rows(connection: Connection, plan: Plan, table: Table) -> Iterator[RowMismatch]:
    """Every mismatching row of a table now, streamed: as many as there are."""
    plan = with_names_of_now(connection, plan)
    table = plan.table_like(table)
    columns = columns_of(connection, plan, table)
    connection.execute("SET statement_timeout = 0")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        scan = TableScan(connection, plan, table, columns, refusing=True)
        rows = connection.execute(scan.query(EVERY_ROW)).fetchall()
        yield from mismatches_of(connection, scan, [row[:-1] for row in rows], EVERY_ROW)
