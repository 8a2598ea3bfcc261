"""The planner's statistics of columns that a pass has filled."""

import logging

import psycopg
from psycopg import sql

from rollout.engine.target import Connection
from rollout.plan.actions import Compute, Fill

_log = logging.getLogger(__name__)
# SKIP_LOCKED still waits for who holds a partition or an index.
LOCK_TIMEOUT = "1s"


def gather(connection: Connection, action: Fill | Compute) -> None:
    """Let the planner know the new values before the application reads them.

    Autovacuum would do so later, and is left to it where it has the table already.
    """
    columns = (
        action.columns
        if isinstance(action, Compute)
        else tuple(assignment.column for assignment in action.assignments)
    )
    if not columns or action.named is not None:
        # Of few rows, or a function writes whatever it likes.
        return
    try:
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        connection.execute(
            sql.SQL("ANALYZE (SKIP_LOCKED) {} ({})").format(
                action.table.identifier, sql.SQL(", ").join(map(sql.Identifier, columns))
            )
        )
    except psycopg.Error as error:
        _log.warning("Statistics of %s: %s", action.table.label, str(error).strip())
    if not connection.closed:
        connection.execute("SET lock_timeout = 0")
