"""Groups of columns of a live table whose values repeat together, for scaffolding a first plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg import errors, sql

from rollout.engine.target import Connection
from rollout.plan.table import Table

# Maximum time to count a column's texts; after it a part of the table stands for the rest.
COUNT_SECONDS = 20
PART_ROWS = 100_000
# A group repeats if it has this many rows for each of its different values.
_REPEATS = 2
# The share of keys that may have more than one group of values.
_CONFLICTS = 0.1


@dataclass(frozen=True)
class ColumnGroup:
    """Columns whose names begin with one word, and whose values repeat together.

    ``key`` is the column that tells its groups of values apart, but for ``conflicts``: so many of
    its values have more than one group.
    """

    prefix: str
    columns: tuple[str, ...]
    key: str
    rows: int
    groups: int
    conflicts: int
    empty: int
    """Rows without a value in any of them."""
    in_part: bool
    """Whether only a part of the table was counted."""


def repeated_groups(
    connection: Connection, table: Table, columns: Sequence[str], *, keys: Sequence[str]
) -> tuple[ColumnGroup, ...]:
    """The groups among text columns; one of ``keys`` tells the values of each apart."""
    by_prefix = groupby(sorted(columns, key=_prefix), key=_prefix)
    candidates = [
        (prefix, tuple(column for column in columns if column in own))
        for prefix, own in ((prefix, set(own)) for prefix, own in by_prefix)
        if prefix and len(own) > 1
    ]
    counted = (
        _counted(connection, table, prefix, own, [c for c in own if c in keys])
        for prefix, own in candidates
    )
    return tuple(group for group in counted if group is not None)


def _prefix(column: str) -> str:
    """The first word of a name of several words; empty for one of a single word."""
    first, mark, rest = column.partition("_")
    return first if mark and rest else ""


def _counted(
    connection: Connection, table: Table, prefix: str, columns: tuple[str, ...], keys: list[str]
) -> ColumnGroup | None:
    if not keys:
        return None
    in_part = False
    try:
        numbers = _numbers(connection, table, columns, keys, in_part=False)
    except errors.QueryCanceled:
        in_part = True
        numbers = _numbers(connection, table, columns, keys, in_part=True)
    (rows, empty, groups), distinct, of_keys = numbers
    fitting = [
        (conflicts, -number, place, key)
        for place, (key, number, conflicts) in enumerate(of_keys)
        if number * 2 >= groups and conflicts <= _CONFLICTS * number
    ]
    if not fitting or groups < _REPEATS or rows - empty < _REPEATS * groups or min(distinct) < 2:
        return None
    conflicts, *_, key = min(fitting)
    return ColumnGroup(prefix, columns, key, rows, groups, conflicts, empty, in_part)


_Numbers = tuple[tuple[int, int, int], list[int], list[tuple[str, int, int]]]


def _numbers(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    keys: list[str],
    *,
    in_part: bool,
) -> _Numbers:
    """Rows, empty rows and groups; distinct values by column; by key its values and conflicts."""

    def is_present(column: str) -> sql.Composed:
        return sql.SQL("coalesce({}::text, '') <> ''").format(sql.Identifier(column))

    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    present = sql.SQL(" OR ").join(map(is_present, columns))
    of_columns = sql.SQL(", ").join(
        sql.SQL("(SELECT count(DISTINCT {}) FROM g WHERE {})").format(
            sql.Identifier(column), is_present(column)
        )
        for column in columns
    )
    of_keys = sql.SQL(", ").join(
        sql.SQL(
            "(SELECT ARRAY[count(*), count(*) FILTER (WHERE n > 1)] FROM"
            " (SELECT count(*) AS n FROM g WHERE {} GROUP BY {}) AS k)"
        ).format(is_present(key), sql.Identifier(key))
        for key in keys
    )
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'".encode())
        row = connection.execute(
            sql.SQL(
                "WITH g AS MATERIALIZED (SELECT {names}, count(*) AS rows FROM"
                " (SELECT {names} FROM {table}{limit}) AS r GROUP BY {names})"
                " SELECT (SELECT ARRAY[coalesce(sum(rows), 0), coalesce(sum(rows) FILTER"
                " (WHERE NOT ({present})), 0), count(*) FILTER (WHERE {present})]::bigint[]"
                " FROM g), ARRAY[{of_columns}], {of_keys}"
            ).format(
                names=names,
                table=table.identifier,
                limit=sql.SQL(" LIMIT {}").format(sql.Literal(PART_ROWS))
                if in_part
                else sql.SQL(""),
                present=present,
                of_columns=of_columns,
                of_keys=of_keys,
            )
        ).fetchone()
    assert row is not None
    (rows, empty, groups), distinct, *counts = row
    by_key = [(key, *numbers) for key, numbers in zip(keys, counts, strict=True)]
    return (rows, empty, groups), distinct, by_key
