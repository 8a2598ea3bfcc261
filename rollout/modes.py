"""How the application knows, while a rollout is under way, which shape to read and to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from django.db import connections, transaction

from rollout import telemetry
from rollout.plan.switch import ReadMode, WriteMode, lock_key


@dataclass(frozen=True)
class Modes:
    """Which shape the application reads and writes, and what else the plan has switched on."""

    read: ReadMode = "legacy"
    write: WriteMode = "legacy"
    features: frozenset[str] = frozenset()


_installed: set[str] = set()


def _modes_table_exists(using: str) -> bool:
    database = str(connections[using].settings_dict["NAME"])
    if database not in _installed:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT to_regclass('rollout.modes') IS NOT NULL")
            row = cursor.fetchone()
        if not row or not row[0]:
            return False
        _installed.add(database)
    return True


@contextmanager
def current_modes(plan: str, *, using: str = "default") -> Iterator[Modes]:
    """Open a transaction in which the plan's modes hold still, and give them.

    A switch of modes waits for every such transaction, so code inside never sees half of one.
    """
    with transaction.atomic(using=using):
        if _modes_table_exists(using):
            with connections[using].cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(plan)])
        modes = modes_now(plan, using=using)
        telemetry.using_modes(read=modes.read, write=modes.write)
        yield modes


def modes_now(plan: str, *, using: str = "default") -> Modes:
    """The plan's modes at this moment, to be shown; to act on them use ``current_modes``."""
    if not _modes_table_exists(using):
        return Modes()
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT read_mode, write_mode, features FROM rollout.modes WHERE plan = %s", [plan]
        )
        row = cursor.fetchone()
    if row is None:
        return Modes()
    return Modes(
        cast(ReadMode, row[0]), cast(WriteMode, row[1]), frozenset(cast(list[str], row[2]))
    )
