"""Which schema the application reads and writes during a rollout."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections, models, transaction
from psycopg import errors

from rollout import telemetry
from rollout.engine.target import Connection
from rollout.plan.errors import RolloutError
from rollout.plan.registry import plans
from rollout.plan.removals import UseFeature
from rollout.plan.switch import ReadMode, WriteMode, has_new_columns_alone, lock_key

_log = logging.getLogger(__name__)
TableModel = TypeVar("TableModel", bound=models.Model)


@dataclass(frozen=True)
class Modes:
    """The schemas that the application reads and writes, and the features the plan switched on."""

    read: ReadMode = "legacy"
    write: WriteMode = "legacy"
    features: frozenset[str] = frozenset()

    def model_of(self, *models: type[TableModel]) -> type[TableModel]:
        """A table in the shape in force: the one of its models, oldest first, to read and write.

        The oldest while the legacy schema alone is written, the newest once the new one is read.
        Between the two the newest that has all columns of the oldest, of the same types: those that
        it lacks, the triggers keep in step.
        """
        oldest, newest = models[0], models[-1]
        if self.write == "legacy":
            return oldest
        if self.read == "new":
            return newest
        needed = _columns(oldest)
        return next(model for model in reversed(models) if needed <= _columns(model))


def _columns(model: type[models.Model]) -> set[tuple[str | None, str | None]]:
    """Names with types, as a new column may have the name that the legacy one had."""
    connection = connections[DEFAULT_DB_ALIAS]
    return {(field.column, field.db_type(connection)) for field in model._meta.concrete_fields}


class UnsafeIsolation(RolloutError):
    """The transaction reads an older state of the database than the modes in force."""


_EXISTS = "to_regclass('rollout.modes') IS NOT NULL"
_ISOLATION = "current_setting('transaction_isolation')"
# A transaction of these levels reads by one snapshot, which may be older than the lock.
_UNSAFE = {"repeatable read", "serializable"}
_MODES = "SELECT read_mode, write_mode, features FROM rollout.modes WHERE plan = %s"

Key = tuple[str, ...]

# The last modes this process read, by database and plan, for when the table was dropped: with them
# it still writes what the triggers and the other processes expect.
_last: dict[Key, Modes] = {}
# The modes that tests give, by plan, whatever the database has.
overridden: dict[str, Modes] = {}
# Where the table is missing now, so that it is logged once and not for each request.
_lost: set[Key] = set()


@contextmanager
def current_modes(plan: str, *, using: str = "default") -> Iterator[Modes]:
    """Open a transaction in which the plan's modes hold still, and give them.

    A switch of modes waits for every such transaction, so code inside never sees half of one. In a
    database whose tables have the plan's new columns and none of its legacy ones, as migrations
    make it, both modes are ``new`` although no phase ran there.

    Raises UnsafeIsolation above READ COMMITTED.
    """
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            # Looked for each time, in the statement that is sent anyway: one that fails would end
            # the application's transaction.
            cursor.execute(
                f"SELECT pg_advisory_xact_lock_shared(%s), {_EXISTS}, {_ISOLATION}",
                [lock_key(plan)],
            )
            _, exists, isolation = cursor.fetchone()
            if isolation in _UNSAFE:
                raise UnsafeIsolation(
                    f"current_modes({plan!r}) needs READ COMMITTED, and this transaction is "
                    f"{isolation.upper()}: it could miss a switch of the modes. Lower the "
                    "isolation level of the connection or of this transaction."
                )
            modes = overridden.get(plan) or (
                _seen(cursor, plan, using) if exists else _remembered(cursor, plan, using)
            )
        telemetry.using_modes(plan, read=modes.read, write=modes.write)
        yield modes


def modes_now(plan: str, *, using: str = "default") -> Modes:
    """The plan's modes at this moment, to be shown; to act on them use ``current_modes``."""
    if plan in overridden:
        return overridden[plan]
    connection = connections[using]
    with connection.cursor() as cursor:
        if _key(plan, using) not in _last:
            cursor.execute(f"SELECT {_EXISTS}")
            row = cursor.fetchone()
            if row and row[0]:
                return _seen(cursor, plan, using)
            return _by_columns(cursor, plan)
        try:
            if not connection.in_atomic_block:
                return _seen(cursor, plan, using)
            with transaction.atomic(using=using):
                return _seen(cursor, plan, using)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, errors.UndefinedTable):
                raise
            return _remembered(cursor, plan, using)


def modes_in(connection: Connection, plan: str) -> Modes:
    """The plan's modes in a target, by a connection of the engine's."""
    row = connection.execute(f"SELECT {_EXISTS}".encode()).fetchone()
    stored = connection.execute(_MODES.encode(), [plan]).fetchone() if row and row[0] else None
    return _of(stored) if stored else _by_columns(connection, plan)


def _key(plan: str, using: str) -> Key:
    database = connections[using].settings_dict
    return str(database["HOST"]), str(database["PORT"]), str(database["NAME"]), plan


def _seen(cursor: Any, plan: str, using: str) -> Modes:
    cursor.execute(_MODES, [plan])
    key = _key(plan, using)
    row = cursor.fetchone()
    _lost.discard(key)
    if row is None:
        return _by_columns(cursor, plan)
    modes = _last[key] = _of(row)
    return modes


def _by_columns(cursor: Any, plan: str) -> Modes:
    """The modes of a database in which no phase of the plan ever ran."""
    registered = plans.find(plan)
    question = registered and has_new_columns_alone(registered)
    if registered is None or question is None:
        return Modes()
    ((is_new,),) = cursor.execute(question).fetchall()
    if not is_new:
        return Modes()
    steps = (step for phase in registered.phases for step in phase.steps)
    features = frozenset(step.feature for step in steps if isinstance(step, UseFeature))
    return Modes("new", "new", features)


def _remembered(cursor: Any, plan: str, using: str) -> Modes:
    key = _key(plan, using)
    modes = _last.get(key)
    if modes is None:
        return _by_columns(cursor, plan)
    if key not in _lost:
        _lost.add(key)
        _log.error(
            "The schema “rollout” of the database %s is missing. This process keeps its last "
            "modes: it reads %s and writes %s. The rollout's page says what to do.",
            *(key[2], modes.read, modes.write),
        )
    return modes


def _of(row: tuple[Any, ...]) -> Modes:
    return Modes(
        cast(ReadMode, row[0]), cast(WriteMode, row[1]), frozenset(cast(list[str], row[2]))
    )
