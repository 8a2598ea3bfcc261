"""A pass that copies rows of a table into a table of the engine's own."""

from dataclasses import dataclass
from typing import ClassVar

from psycopg import sql

from rollout.plan.table import Table
from rollout.plan.updates import Assignment


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Copy every row once, in short batches while writers continue.

    ``columns`` are those of ``into``, each with its SQL over row ``t``; by those of the table's key
    a row is known there. ``needed`` is SQL of whether a row ``t`` must be in the copy; all others
    are copied where they are met. ``done`` is a fact: the copy was made and has another name now.
    """

    kind: ClassVar[str] = "archive"
    named: ClassVar[None] = None
    table: Table
    into: sql.Identifier
    columns: tuple[Assignment, ...]
    needed: sql.Composable
    done: sql.Composable

    @property
    def names(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(column.column) for column in self.columns)

    def read(
        self,
        condition: sql.Composable,
        *,
        relation: sql.Identifier | None = None,
        **noted: sql.Composable,
    ) -> sql.Composed:
        """A query of the rows as they are copied, each with what is ``noted`` of it."""
        columns = {column.column: column.value for column in self.columns}
        return sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(value, sql.Identifier(name))
                for name, value in {**columns, **noted}.items()
            ),
            relation or self.table.identifier,
            condition,
        )

    def insert(self, rows: sql.Composable) -> sql.Composed:
        """The INSERT of a query's rows, except those that are copied already."""
        return sql.SQL("INSERT INTO {} AS copied ({}) {} ON CONFLICT DO NOTHING").format(
            self.into, self.names, rows
        )

    @property
    def is_missing(self) -> sql.Composable:
        """SQL condition: row ``t`` is not in the copy."""
        return sql.SQL("NOT EXISTS (SELECT FROM {} AS copied WHERE {})").format(
            self.into,
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("copied", c), sql.Identifier("t", c))
                for c in self.table.key
            ),
        )

    @property
    def unfinished(self) -> sql.Composed:
        """A query of one number: the rows that must be in the copy, and are not."""
        return sql.SQL("SELECT count(*) FROM {} AS t WHERE {} AND {}").format(
            self.table.identifier, self.is_missing, self.needed
        )

    @property
    def text(self) -> str:
        return self.insert(self.read(sql.SQL("/* rows of the batch */ true"))).as_string()
