"""One row as it stands at this moment, by the same rules as an audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.audit.readiness import why_not
from rollout.engine.audit.rows import is_one_of
from rollout.engine.audit.scan import TableScan
from rollout.engine.catalog import live_columns, tables_of
from rollout.engine.target import Connection
from rollout.plan.plan import Plan
from rollout.plan.table import Table


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
    scan = TableScan(connection, plan, table, columns, refusing=True)
    condition = is_one_of(scan, [list(key)])
    rows = connection.execute(scan.query(condition)).fetchall()
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
