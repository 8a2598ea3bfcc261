"""A uniform random sample of a table's rows, the same ones for the same seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import sql

from rollout.engine.audit.categories import RowMismatch, Sample
from rollout.engine.audit.scan import TableScan
from rollout.engine.quarantine import key_of
from rollout.engine.target import Connection
from rollout.plan.translations import Computed

BATCH_SIZE = 16
Function = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any] | Exception]]


def population(connection: Connection, scan: TableScan) -> int:
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(scan.table.identifier)
    ).fetchone()
    return int(row[0]) if row else 0


def sampled(connection: Connection, scan: TableScan, sample: Sample, rows: int) -> sql.Composed:
    """SQL condition: row ``t`` is in the sample.

    A row is in it when the hash of its key with the seed is among the smallest, so it depends on
    nothing else: not on where the row lies, nor on its neighbours.
    """
    mark = sql.SQL("(hashtextextended(({})::text, {}) & {})").format(
        key_of(scan.table), sql.Literal(sample.seed), sql.Literal(2**63 - 1)
    )
    # A generous bound spares sorting the whole table for its few smallest marks.
    share = min(1.0, (2 * sample.rows + 100) / max(rows, 1))
    row = connection.execute(
        sql.SQL(
            "SELECT max(mark) FROM (SELECT {mark} AS mark FROM {table} AS t"
            " WHERE {mark} <= {bound} ORDER BY 1 LIMIT {rows}) AS smallest"
        ).format(
            mark=mark,
            table=scan.table.identifier,
            bound=sql.Literal(int(share * (2**63 - 1))),
            rows=sql.Literal(sample.rows),
        )
    ).fetchone()
    largest = row[0] if row and row[0] is not None else -1
    return sql.SQL("{} <= {}").format(mark, sql.Literal(largest))


def computed_again(
    connection: Connection,
    scan: TableScan,
    computed: Computed,
    function: Function,
    condition: sql.Composable,
) -> Iterator[RowMismatch]:
    """The rows of a sample whose computed values are others than the function gives now."""
    columns = list(computed.columns)
    rows = connection.execute(
        sql.SQL("SELECT {}, {}, {} FROM {} AS t WHERE {} AND {}").format(
            key_of(scan.table),
            sql.SQL(", ").join(sql.Identifier("t", column) for column in computed.reads),
            sql.SQL(", ").join(sql.Identifier("t", column) for column in columns),
            scan.table.identifier,
            condition,
            sql.SQL(" AND ").join(
                sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", column)) for column in columns
            ),
        )
    ).fetchall()
    read = len(computed.reads)
    for first in range(0, len(rows), BATCH_SIZE):
        batch = rows[first : first + BATCH_SIZE]
        sources = [dict(zip(computed.reads, row[1 : 1 + read], strict=True)) for row in batch]
        for row, source, outcome in zip(batch, sources, function(sources), strict=True):
            actual = dict(zip(columns, row[1 + read :], strict=True))
            failed = isinstance(outcome, Exception)
            expected = {} if isinstance(outcome, Exception) else dict(outcome)
            if failed or expected != actual:
                yield RowMismatch(
                    table=scan.table.label,
                    key=",".join(row[0]),
                    key_parts=row[0],
                    column=", ".join(columns),
                    category="computed_differs",
                    legacy=", ".join(str(value) for value in source.values() if value is not None),
                    expected=f"{outcome}" if failed else _text(expected, columns),
                    actual=_text(actual, columns),
                )


def _text(values: Mapping[str, Any], columns: Sequence[str]) -> str:
    return ", ".join(str(values.get(column)) for column in columns)
