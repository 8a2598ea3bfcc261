"""Writes that gave the two sides of a translation different meanings, as the triggers note them.

The side in authority has won; the note is for people to find the writer. It is a row of its own and
waits for nobody; the audit counts such rows and keeps one for each column and application.
"""

from psycopg import sql

from rollout.plan.names import in_target
from rollout.plan.table import Table

CONFLICTING_WRITES = in_target("conflicting_writes")


def noted(
    plan: str, table: Table, name: str, *, legacy: sql.Composable, new: sql.Composable
) -> sql.Composed:
    """A statement for a trigger's function that notes the row ``new`` and who writes it.

    ``name`` is that of the new column or columns; ``legacy`` and ``new`` are what both sides were
    written as.
    """
    return sql.SQL(
        "INSERT INTO {} (plan, table_label, column_name, key, legacy, new)\n"
        "        VALUES ({}, {}, {}, {}, left({}, 200), {}::text);"
    ).format(
        CONFLICTING_WRITES,
        sql.Literal(plan),
        sql.Literal(table.label),
        sql.Literal(name),
        table.key_texts("new"),
        legacy,
        new,
    )


def forgotten(plan: str, table: Table) -> sql.Composed:
    """A statement that removes the notes of a table."""
    return sql.SQL("DELETE FROM {} WHERE plan = {} AND table_label = {}").format(
        CONFLICTING_WRITES, sql.Literal(plan), sql.Literal(table.label)
    )
