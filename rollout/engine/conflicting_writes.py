"""How many conflicting writes the triggers noted, by column and application."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool
from rollout.plan.conflicting_writes import CONFLICTING_WRITES
from rollout.plan.facts import relation_exists
from rollout.plan.plan import Plan

# The table holds so many of a plan's notes, and what is written between two looks at it.
MAX_NOTES = 1000


@dataclass(frozen=True)
class ConflictingWrites:
    """Writes of one application to one column, with the newest as an example."""

    table: str
    column: str
    application: str
    """The ``application_name`` of its sessions."""
    writes: int
    key: list[str]
    legacy: str | None
    """The legacy value that was written, at most 200 characters of it."""
    new: str | None
    at: datetime


def bound_notes(connection: Connection, plan: Plan) -> None:
    """Count the notes where they have become many: an audit may be far away.

    Runs on the primary.
    """
    if not fetch_bool(connection, relation_exists(CONFLICTING_WRITES)):
        return
    are_many = sql.SQL("EXISTS (SELECT FROM {} WHERE plan = {} OFFSET {})").format(
        CONFLICTING_WRITES, sql.Literal(plan.name), sql.Literal(MAX_NOTES)
    )
    if fetch_bool(connection, are_many):
        count_conflicting_writes(connection, plan)


def count_conflicting_writes(connection: Connection, plan: Plan) -> list[ConflictingWrites]:
    """Count what was noted since the dual write began, and leave one note for each count.

    Runs on the primary.
    """
    if not fetch_bool(connection, relation_exists(CONFLICTING_WRITES)):
        return []
    with connection.transaction():
        connection.execute(
            sql.SQL(
                "WITH counted AS (DELETE FROM {notes} WHERE plan = {plan} RETURNING *)\n"
                "INSERT INTO {notes} (plan, table_label, column_name, application, key, legacy,"
                " new, at, writes)\n"
                "  SELECT DISTINCT ON (table_label, column_name, application) plan, table_label,"
                " column_name, application, key, legacy, new, at,"
                " sum(writes) OVER (PARTITION BY table_label, column_name, application)\n"
                "  FROM counted ORDER BY table_label, column_name, application, at DESC"
            ).format(notes=CONFLICTING_WRITES, plan=sql.Literal(plan.name))
        )
        rows = connection.execute(
            sql.SQL(
                "SELECT table_label, column_name, application, sum(writes)::bigint,"
                " (array_agg(to_jsonb(key) ORDER BY at DESC))[1],"
                " (array_agg(legacy ORDER BY at DESC))[1], (array_agg(new ORDER BY at DESC))[1],"
                " max(at)\n  FROM {} WHERE plan = {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3"
            ).format(CONFLICTING_WRITES, sql.Literal(plan.name))
        ).fetchall()
    return [ConflictingWrites(*row) for row in rows]
