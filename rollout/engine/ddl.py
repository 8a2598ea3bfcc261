"""Carries statements out so that the application never waits longer than a lock timeout."""

import random
from collections.abc import Callable, Sequence

import psycopg
from psycopg import errors, sql

from rollout.engine import hazards
from rollout.engine.control import Control, pause
from rollout.engine.lookup_rows import cause
from rollout.engine.quarantine import is_of_a_row
from rollout.engine.target import CUT_OFF_SECONDS, Connection, fetch_bool
from rollout.engine.watch import Watch
from rollout.plan.actions import Statement
from rollout.plan.errors import RolloutError
from rollout.plan.hazards import Hazard
from rollout.plan.names import code

# Attempts to get a statement's lock, and those at one that runs outside a transaction.
MAX_ATTEMPTS = 30
MAX_LONG_ATTEMPTS = 5
# The application queues behind a waiting lock: the first attempts wait only a moment.
FIRST_LOCK_TIMEOUT_SECONDS = 0.2
MAX_LOCK_TIMEOUT_SECONDS = 2.0
MAX_PAUSE_SECONDS = 3.0
# An autovacuum of the table yields to who has waited for this long: by default it is a second, in
# which the application queues up behind the waiting lock.
DEADLOCK_TIMEOUT_MS = 10
# The rows that made a statement fail are looked for again; a build of hours may find them late.
MAX_SEARCH_SECONDS = 60


class LockNotObtained(RolloutError):
    """Other sessions held the lock through every attempt; the message names them."""


class NotApplied(RolloutError):
    """A statement reported success, but the catalog does not show its result."""


class RowsInTheWay(RolloutError):
    """Rows break the rule that a statement puts in force; the message counts and lists them."""


class LookupRowRefused(RolloutError):
    """A rule of the lookup table refuses a row; the message says which rule, and what to do."""


def apply(
    connection: Connection,
    statement: Statement,
    control: Control,
    *,
    clearing: Sequence[Statement] = (),
    calm: Callable[[], None] = lambda: None,
) -> bool:
    """Run a statement unless it is already applied, or for other servers; whether it was run.

    ``calm`` waits for a moment in which it may begin. ``clearing`` are run again before a long
    statement that a deadlock ended is tried once more: they take away what it has left.
    Raises LockNotObtained, NotApplied, RowsInTheWay, LookupRowRefused, Interrupted and
    psycopg.Error.
    """
    if not statement.is_for(connection.info.server_version):
        return False
    if statement.done is not None and fetch_bool(connection, statement.done):
        return False
    calm()
    control.attach(connection)
    connection.execute("SET synchronous_commit = on")
    for text in _texts(connection, statement):
        control.raise_if_stopped()
        with Watch(connection, statement, control) as watch:
            try:
                if statement.long:
                    _without_timeout(connection, text, control, watch, clearing)
                else:
                    _with_lock_timeout(connection, text, control, watch)
            except psycopg.Error as error:
                if isinstance(error, psycopg.IntegrityError) and statement.refused_by:
                    raise_for_rows(connection, statement.refused_by, error)
                if not statement.lookup_label or not is_of_a_row(error):
                    raise
                raise LookupRowRefused(
                    f"The lookup table {statement.lookup_label} rejects a row: {cause(error)}. "
                    f"{error.diag.message_detail or 'The preflight names it.'} No rows were "
                    "created. Change that constraint, or map those values in the mapping review."
                ) from error
    if statement.done is not None and not fetch_bool(connection, statement.done):
        raise NotApplied(
            "The statement succeeded, but its effect is not in the catalog. Check the table, then "
            "retry the phase."
        )
    return True


def raise_for_rows(connection: Connection, hazard: Hazard, error: psycopg.Error) -> None:
    """Raise RowsInTheWay with the rows that the server's error does not name.

    Nothing is raised where they are gone by now, or are not found in time.
    """
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SET LOCAL statement_timeout = {}").format(
                    sql.Literal(f"{MAX_SEARCH_SECONDS}s")
                )
            )
            rows = hazards.finding(connection, hazard)
    except errors.QueryCanceled:
        return
    if rows:
        raise RowsInTheWay(f"{rows} {hazard.advice}") from error


def _texts(connection: Connection, statement: Statement) -> list[sql.SQL | sql.Composed]:
    """The statements to run: the given one, or those that the target generates from it."""
    if not statement.generates:
        return [statement.sql]
    return [code(text) for (text,) in connection.execute(statement.sql).fetchall()]


def _without_timeout(
    connection: Connection,
    text: sql.SQL | sql.Composed,
    control: Control,
    watch: Watch,
    clearing: Sequence[Statement],
) -> None:
    """Run without a lock timeout; deadlocked attempts begin again."""
    for attempt in range(1, MAX_LONG_ATTEMPTS + 1):
        try:
            connection.execute("SET lock_timeout = 0")
            connection.execute("SET statement_timeout = 0")
            connection.execute(text)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if attempt == MAX_LONG_ATTEMPTS:
                raise LockNotObtained(
                    f"Deadlock after {attempt} attempts. Blocked by: {watch.named}. Wait for "
                    "those transactions to end, then retry the phase."
                ) from error
            pause(random.uniform(0, MAX_PAUSE_SECONDS), control)
            for statement in clearing:
                apply(connection, statement, control)


def may_interrupt_autovacuum(server_version: int) -> sql.SQL:
    """SQL of whether the session's role may set ``deadlock_timeout``."""
    if server_version < 150000:
        return sql.SQL("current_setting('is_superuser') = 'on'")
    return sql.SQL("has_parameter_privilege('deadlock_timeout', 'SET')")


def _settings(connection: Connection, lock_timeout: float) -> sql.Composed:
    """SQL that sets what holds for the transaction of a statement that asks for its lock."""
    return sql.SQL(
        "SELECT set_config('lock_timeout', {}, true), set_config('statement_timeout', '0', true),"
        " set_config('idle_in_transaction_session_timeout', {}, true),"
        " CASE WHEN {} THEN set_config('deadlock_timeout', {}, true) END"
    ).format(
        sql.Literal(f"{int(lock_timeout * 1000)}ms"),
        sql.Literal(f"{CUT_OFF_SECONDS}s"),
        may_interrupt_autovacuum(connection.info.server_version),
        sql.Literal(f"{DEADLOCK_TIMEOUT_MS}ms"),
    )


def _with_lock_timeout(
    connection: Connection, text: sql.SQL | sql.Composed, control: Control, watch: Watch
) -> None:
    """Rising lock timeouts with full jitter between them: every wait in the queue is short."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        control.raise_if_stopped()
        timeout = min(MAX_LOCK_TIMEOUT_SECONDS, FIRST_LOCK_TIMEOUT_SECONDS * 1.3 ** (attempt - 1))
        watch.trying(attempt, MAX_ATTEMPTS, timeout)
        try:
            with connection.transaction():
                connection.execute(_settings(connection, timeout))
                connection.execute(text)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if attempt < MAX_ATTEMPTS:
                seconds = random.uniform(0, min(MAX_PAUSE_SECONDS, timeout * 2))
                watch.pausing(seconds)
                pause(seconds, control)
    raise LockNotObtained(
        f"Could not acquire the lock after {MAX_ATTEMPTS} attempts. Blocked by: {watch.named}. "
        "Nothing was changed. Wait for those transactions to end, then retry the phase."
    )
