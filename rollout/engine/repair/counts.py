"""How many rows a repair is about, and some of them: asked before it and after it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import sql

from rollout.engine.quarantine import is_of_a_row, key_of
from rollout.engine.repair.cells import SELECTABLE, Write, all_of
from rollout.engine.repair.passes import RepairPlan
from rollout.engine.target import Connection

MAX_EXAMPLES = 20
Result = TypeVar("Result")


@dataclass(frozen=True)
class Example:
    """A cell that a repair writes: what it holds, and what it will hold."""

    key: str
    column: str
    category: str
    legacy: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Counted:
    """The selected rows by their worst selected category, and how many of them can be written.

    ``cells`` are the same by column: one row may be wrong in several.
    """

    categories: dict[str, int]
    writable: int
    cells: dict[tuple[str, str], int] = field(default_factory=dict)
    """Column and category to rows."""

    @property
    def rows(self) -> int:
        return sum(self.categories.values())


def count(connection: Connection, repairing: RepairPlan, *, before: bool = True) -> Counted:
    """Count the selected rows. Afterwards, recomputed values count as right."""
    return _asked(connection, repairing, partial(_count, before=before))


def _asked(
    connection: Connection, repairing: RepairPlan, ask: Callable[[Connection, RepairPlan], Result]
) -> Result:
    """The answer; where an expression refuses some row, once more with care for it."""
    try:
        with connection.transaction():
            return ask(connection, repairing)
    except psycopg.Error as error:
        if not is_of_a_row(error):
            raise
    return ask(connection, repairing.careful)


def _count(connection: Connection, repairing: RepairPlan, *, before: bool) -> Counted:
    cells = [*repairing.cells, *repairing.computed_cells(before=before)]
    if not cells:
        return Counted({}, 0)
    names = [sql.Identifier(f"c{number}") for number in range(len(cells))]
    rows = connection.execute(
        sql.SQL(
            "SELECT {names}, writable, count(*) FROM (SELECT {columns}, {writable} AS writable"
            " FROM {table} AS t{joins} WHERE {keys}) AS found"
            " WHERE num_nonnulls({names}) > 0 GROUP BY {numbers}"
        ).format(
            names=sql.SQL(", ").join(names),
            columns=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(cell.category, name)
                for cell, name in zip(cells, names, strict=True)
            ),
            writable=_writable(repairing),
            table=repairing.table.identifier,
            joins=repairing.whole.left_joins,
            keys=repairing.has_key,
            numbers=sql.SQL(", ").join(sql.Literal(n + 1) for n in range(len(cells) + 1)),
        )
    ).fetchall()
    categories: Counter[str] = Counter()
    by_column: Counter[tuple[str, str]] = Counter()
    writable = 0
    columns = [", ".join(cell.translation.added) for cell in cells]
    for *cell_categories, writes, number in rows:
        selected = [
            (column, category)
            for column, category in zip(columns, cell_categories, strict=True)
            if category in repairing.categories
        ]
        if selected:
            worst = max((category for _, category in selected), key=SELECTABLE.index)
            categories[worst] += number
            writable += number if writes else 0
        for pair in selected:
            by_column[pair] += number
    return Counted(dict(categories), writable, dict(by_column))


def examples(
    connection: Connection, repairing: RepairPlan, *, most: int = MAX_EXAMPLES
) -> list[Example]:
    """Some of the cells to write, with their values before and after."""
    return _asked(connection, repairing, partial(_examples, most=most))


def _examples(connection: Connection, repairing: RepairPlan, *, most: int) -> list[Example]:
    writes = [*repairing.writes, *_computed_writes(repairing)]
    if not writes:
        return []
    rows = connection.execute(
        sql.SQL("SELECT {key}, {cells} FROM {table} AS t{joins} WHERE {where} LIMIT {most}").format(
            key=key_of(repairing.table),
            cells=sql.SQL(", ").join(
                sql.SQL("CASE WHEN {} THEN ARRAY[{}, {}::text, {}::text, {}::text] END").format(
                    w.condition, w.category, w.legacy, w.before, w.after
                )
                for w in writes
            ),
            table=repairing.table.identifier,
            joins=repairing.whole.left_joins,
            where=all_of([repairing.has_key, _writable(repairing)]),
            most=sql.Literal(most),
        )
    ).fetchall()
    examples = [
        Example(",".join(key), write.column, *cell)
        for key, *cells in rows
        for write, cell in zip(writes, cells, strict=True)
        if cell is not None
    ]
    return examples[:most]


def _computed_writes(repairing: RepairPlan) -> list[Write]:
    return [
        replace(
            write,
            condition=sql.SQL("({} IN ({}))").format(
                write.category, sql.SQL(", ").join(map(sql.Literal, repairing.categories))
            ),
        )
        for cell in repairing.computed_cells()
        for write in cell.writes
    ]


def _writable(repairing: RepairPlan) -> sql.Composable:
    """SQL condition: a pass of the repair writes row ``t``."""
    conditions = [w.condition for w in _computed_writes(repairing)]
    return sql.SQL("(({}) IS TRUE)").format(
        sql.SQL(" OR ").join([repairing.has_a_write, *conditions])
    )
