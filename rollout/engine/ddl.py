"""Carries statements out so that the application never waits longer than a lock timeout."""

import random
import time

import psycopg
from psycopg import errors, sql

from rollout.engine.control import Control
from rollout.engine.target import CUT_OFF_SECONDS, Connection, ask
from rollout.plan.actions import Statement

ATTEMPTS = 30
FIRST_LOCK_TIMEOUT = 0.2
LONGEST_LOCK_TIMEOUT = 2.0
LONGEST_PAUSE = 3.0


class LockNotObtained(Exception):
    """Other sessions held the lock through every attempt; the message names them."""


class NotApplied(Exception):
    """A statement reported success, but the catalog does not show its result."""


def apply(connection: Connection, statement: Statement, control: Control) -> bool:
    """Run a statement unless it is already applied, or for other servers; whether it was run.

    Raises LockNotObtained, NotApplied, Interrupted and psycopg.Error.
    """
    if not statement.is_for(connection.info.server_version):
        return False
    if statement.done is not None and ask(connection, statement.done):
        return False
    control.using(connection)
    connection.execute("SET synchronous_commit = on")
    if statement.long:
        connection.execute("SET lock_timeout = 0")
        connection.execute("SET statement_timeout = 0")
        connection.execute(statement.sql)
    else:
        _with_lock_timeout(connection, statement, control)
    if statement.done is not None and not ask(connection, statement.done):
        raise NotApplied(
            "The statement ended without an error, but the catalog does not show its result. "
            "Look at the table, then retry the phase."
        )
    return True


def _with_lock_timeout(connection: Connection, statement: Statement, control: Control) -> None:
    """Rising lock timeouts with full jitter between them: every wait in the queue is short."""
    for attempt in range(1, ATTEMPTS + 1):
        control.check()
        timeout = min(LONGEST_LOCK_TIMEOUT, FIRST_LOCK_TIMEOUT * 1.3 ** (attempt - 1))
        try:
            with connection.transaction():
                connection.execute(
                    sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(int(timeout * 1000)))
                )
                connection.execute("SET LOCAL statement_timeout = 0")
                connection.execute(
                    sql.SQL("SET LOCAL idle_in_transaction_session_timeout = {}").format(
                        sql.Literal(f"{CUT_OFF_SECONDS}s")
                    )
                )
                connection.execute(statement.sql)
            control.waiting("")
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            blockers = lock_holders(connection, [lock.table for lock in statement.locks])
            control.waiting(
                f"a lock, attempt {attempt} of {ATTEMPTS} "
                f"(each gives up after at most {LONGEST_LOCK_TIMEOUT:g} s): {blockers}"
            )
            _pause(random.uniform(0, min(LONGEST_PAUSE, timeout * 2)), control)
    raise LockNotObtained(
        f"The lock was not obtained in {ATTEMPTS} attempts. In the way: {blockers}. "
        "Nothing was changed. Let those transactions end, then retry the phase."
    )


def _pause(seconds: float, control: Control) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        control.check()
        time.sleep(min(left, 0.2))


def lock_holders(connection: Connection, tables: list[str]) -> str:
    """One line about the sessions that hold locks on the tables, longest transaction first."""
    try:
        rows = connection.execute(
            """
            SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed application'), a.state,
                   extract(epoch FROM clock_timestamp() - a.xact_start)::int,
                   left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80)
              FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
              LEFT JOIN pg_class c ON c.oid = l.relation
              LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND l.granted AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
               AND (l.locktype = 'advisory' OR l.locktype = 'relation'
                    AND concat_ws('.', nullif(n.nspname, 'public'), c.relname) = ANY (%s))
             GROUP BY 1, 2, 3, 4, 5 ORDER BY 4 DESC NULLS LAST LIMIT 3
            """,
            [tables],
        ).fetchall()
    except psycopg.Error:
        return "the sessions in the way could not be read"
    if not rows:
        return "whoever held the lock has let it go"
    return "; ".join(
        f"pid {pid} ({application}, {state}, transaction open for {age} s): {query}"
        for pid, application, state, age, query in rows
    )
