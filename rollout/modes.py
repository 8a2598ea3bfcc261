"""How the application knows, while a rollout is under way, which shape to read and to write."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from django.db import ProgrammingError, connections, transaction
from psycopg import errors

from rollout import telemetry
from rollout.engine.target import Connection
from rollout.plan.switch import ReadMode, WriteMode, lock_key

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Modes:
    """Which shape the application reads and writes, and what else the plan has switched on."""

    read: ReadMode = "legacy"
    write: WriteMode = "legacy"
    features: frozenset[str] = frozenset()


_EXISTS = "to_regclass('rollout.modes') IS NOT NULL"
_MODES = "SELECT read_mode, write_mode, features FROM rollout.modes WHERE plan = %s"

Key = tuple[str, ...]

_last: dict[Key, Modes] = {}
"""What this process saw last, by database and plan: the table may be dropped behind its back. Who
goes on by it writes what the triggers and the other processes expect; a guess would not."""
_lost: set[Key] = set()
"""Where the table is missing now: it is logged once, not for each request."""


@contextmanager
def current_modes(plan: str, *, using: str = "default") -> Iterator[Modes]:
    """Open a transaction in which the plan's modes hold still, and give them.

    A switch of modes waits for every such transaction, so code inside never sees half of one.
    """
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            # Looked for each time, in the statement that is sent anyway: one that fails would end
            # the application's transaction.
            cursor.execute(f"SELECT pg_advisory_xact_lock_shared(%s), {_EXISTS}", [lock_key(plan)])
            row = cursor.fetchone()
            modes = _seen(cursor, plan, using) if row and row[1] else _remembered(plan, using)
        telemetry.using_modes(read=modes.read, write=modes.write)
        yield modes


def modes_now(plan: str, *, using: str = "default") -> Modes:
    """The plan's modes at this moment, to be shown; to act on them use ``current_modes``."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if _key(plan, using) not in _last:
            cursor.execute(f"SELECT {_EXISTS}")
            row = cursor.fetchone()
            return _seen(cursor, plan, using) if row and row[0] else Modes()
        try:
            if not connection.in_atomic_block:
                return _seen(cursor, plan, using)
            with transaction.atomic(using=using):
                return _seen(cursor, plan, using)
        except ProgrammingError as error:
            if not isinstance(error.__cause__, errors.UndefinedTable):
                raise
            return _remembered(plan, using)


def modes_in(connection: Connection, plan: str) -> Modes:
    """The plan's modes in a target, by a connection of the engine's."""
    row = connection.execute(f"SELECT {_EXISTS}".encode()).fetchone()
    if not row or not row[0]:
        return Modes()
    return _of(connection.execute(_MODES.encode(), [plan]).fetchone())


def _key(plan: str, using: str) -> Key:
    database = connections[using].settings_dict
    return str(database["HOST"]), str(database["PORT"]), str(database["NAME"]), plan


def _seen(cursor: Any, plan: str, using: str) -> Modes:
    cursor.execute(_MODES, [plan])
    key = _key(plan, using)
    modes = _last[key] = _of(cursor.fetchone())
    _lost.discard(key)
    return modes


def _remembered(plan: str, using: str) -> Modes:
    key = _key(plan, using)
    modes = _last.get(key)
    if modes is None:
        return Modes()
    if key not in _lost:
        _lost.add(key)
        _log.error(
            "The schema “rollout” of the database %s is missing. This process goes on as before: "
            "it reads %s and writes %s. The rollout's page says what to do.",
            *(key[2], modes.read, modes.write),
        )
    return modes


def _of(row: tuple[Any, ...] | None) -> Modes:
    if row is None:
        return Modes()
    return Modes(
        cast(ReadMode, row[0]), cast(WriteMode, row[1]), frozenset(cast(list[str], row[2]))
    )
