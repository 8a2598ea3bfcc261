"""Whether the site can do its work: each check with its reason."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from rollout import journal
from rollout.journal import heartbeats
from rollout.journal.environments import configured
from rollout.models import PhaseRun

_log = logging.getLogger(__name__)

NO_DATABASE = "Database unreachable."


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    ok: bool
    message: str


def checks(*, without: Collection[str] = ()) -> list[Check]:
    """The answers of all checks but those; a database that is away answers for all of them."""
    checks: list[Check] = []
    for name, ask in _CHECKS.items():
        if name in without:
            continue
        try:
            message, ok = ask()
        except Error as error:
            _log.warning("Not ready: %s", str(error).strip())
            message, ok = NO_DATABASE, False
        checks.append(Check(name, ok, message))
        if message == NO_DATABASE:
            # Every further one would wait for the same connection.
            break
    return checks


def _database() -> tuple[str, bool]:
    with journal.connection().cursor() as cursor:
        cursor.execute("SELECT 1")
    return "Database reachable.", True


# The newest migrations of the code by database, read from their files once.
_known: dict[str, set[tuple[str, str]]] = {}


def _migrations() -> tuple[str, bool]:
    alias = journal.alias()
    connection = connections[alias]
    if alias in _known and _known[alias] <= set(MigrationRecorder(connection).applied_migrations()):
        return "All migrations applied.", True
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    if missing := len(executor.migration_plan(leaves)):
        return f"Unapplied migrations: {missing}. Run manage.py migrate.", False
    _known[alias] = set(leaves)
    return "All migrations applied.", True


def _worker() -> tuple[str, bool]:
    liveness = heartbeats.liveness()
    return liveness.worker_message or "Worker online.", liveness.worker_alive


def _watchdog() -> tuple[str, bool]:
    liveness = heartbeats.liveness()
    return liveness.watchdog_message or "Watchdog online.", liveness.watchdog_alive


def _engine() -> tuple[str, bool]:
    """Reported, but never unready: applications keep the modes they saw last, and a balancer that
    dropped them all would turn drift into an outage."""
    with journal.connection().cursor() as cursor:
        cursor.execute("SELECT to_regclass('rollout.modes') IS NOT NULL")
        row = cursor.fetchone()
    if row and row[0]:
        return "Engine schema present.", True
    here = [name for name, alias in configured().items() if alias == journal.alias()]
    if not PhaseRun.objects.filter(rollout__environment__in=here).exists():
        return "No phase has started yet.", True
    return (
        "Drift: the engine's schema “rollout” is missing. Open the rollout's page for how to "
        "restore it.",
        True,
    )


_CHECKS: dict[str, Callable[[], tuple[str, bool]]] = {
    "database": _database,
    "migrations": _migrations,
    "engine": _engine,
    "worker": _worker,
    "watchdog": _watchdog,
}
NAMES = tuple(_CHECKS)
