"""The SQL of a batch's UPDATE: of rows ``t``, with what their right values are read from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql


@dataclass(frozen=True)
class Assignment:
    """A column and the SQL of its right value, over a row that is called ``t``."""

    column: str
    value: sql.Composable
    as_text: bool = False
    """Whether values are compared as texts: the type has no equality to the letter."""
    unless: sql.Composable | None = None
    """SQL condition: the column has its right value. Given where it costs less than the value."""

    @property
    def differs(self) -> sql.Composable:
        """SQL condition: the column of row ``t`` has another value."""
        if self.unless is not None:
            return sql.SQL("NOT {}").format(self.unless)
        text = sql.SQL("::text" if self.as_text else "")
        return sql.SQL("{}{} IS DISTINCT FROM {}{}").format(
            sql.Identifier("t", self.column), text, self.value, text
        )


def left_joins(joins: Iterable[sql.Composable], matches: Iterable[sql.Composable]) -> sql.Composed:
    """FROM items as LEFT JOINs, each by its condition."""
    return sql.SQL("").join(
        sql.SQL(" LEFT JOIN {} ON {}").format(join, match)
        for join, match in zip(joins, matches, strict=True)
    )


def update(
    relation: sql.Identifier,
    assignments: Sequence[Assignment],
    joins: Sequence[sql.Composable],
    conditions: Iterable[sql.Composable],
    *,
    laid_out: bool = False,
) -> sql.Composed:
    """The UPDATE of rows that meet the conditions, which are over the row and the joins.

    ``laid_out`` for people, each column, join and condition has a line of its own.
    """
    line, item = ("\n", "\n  ") if laid_out else (" ", " ")
    columns = sql.SQL(f",{item}").join(
        sql.SQL("{} = {}").format(sql.Identifier(a.column), a.value) for a in assignments
    )
    parts = [sql.SQL("UPDATE {} AS t").format(relation), sql.SQL(f"SET{item}") + columns]
    if joins:
        parts.append(sql.SQL(f"FROM{item}") + sql.SQL(f",{item}").join(joins))
    parts.append(sql.SQL(f"WHERE{item}") + sql.SQL(f"{item}AND ").join(conditions))
    return sql.SQL(line).join(parts)


def update_of_met(
    relation: sql.Identifier,
    assignments: Sequence[Assignment],
    joins: Sequence[sql.Composable],
    matches: Sequence[sql.Composable],
    condition: sql.Composable,
    wrong: sql.Composable,
    **noted: sql.Composable,
) -> sql.Composed:
    """The same for rows that are read first, as ``met``, each with what is ``noted`` of it.

    A row is written whether or not it meets the joins. Nothing is locked before: a version of a row
    is known by its place and writer, so that one which somebody writes meanwhile is left alone.
    """
    # Without joins each value follows from the row itself.
    values = {f"value {number}": a.value for number, a in enumerate(assignments) if joins}
    met = sql.SQL(
        "SELECT t.ctid AS place, t.xmin AS writer, {} FROM {} AS t{} WHERE {} AND {}"
    ).format(
        sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(value, sql.Identifier(name))
            for name, value in {**noted, **values}.items()
        ),
        relation,
        left_joins(joins, matches),
        condition,
        wrong,
    )
    if joins:
        assignments = [
            Assignment(a.column, sql.Identifier("met", name))
            for a, name in zip(assignments, values, strict=True)
        ]
    # After a wait for another's lock older servers compare the writer again, but not the place.
    version = (sql.SQL("t.ctid = met.place"), sql.SQL("t.xmin = met.writer"))
    # The condition once more: of the batch's blocks, not of the whole table.
    return update(
        relation, assignments, [sql.SQL("({}) AS met").format(met)], [*version, condition]
    )
