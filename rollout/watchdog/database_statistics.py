"""Reads the databases' own statistics every few seconds, and keeps them for the monitoring page.

On the same connection it keeps the table of conflicting writes small.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import psycopg
from django.utils import timezone

from rollout import gates, journal
from rollout.conf import setting
from rollout.engine import statistics
from rollout.engine.conflicting_writes import bound_notes
from rollout.engine.statistics import Statements
from rollout.engine.target import Connection, TargetAway
from rollout.journal.environments import names_there, target_of
from rollout.models import DatabaseReading, Rollout
from rollout.plan import plans
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.registry import UnknownPlan
from rollout.telemetry.retention import RETENTION
from rollout.watchdog.isolation import isolated

# Each try may keep the watchdog from its other duties for as long as a connection is waited for.
AWAY_SECONDS = 60.0
EVERY = 10
STATEMENTS_EVERY = 60
# Age of readings, and the interval in seconds at which older ones are kept: counters lose nothing.
RESOLUTIONS = (
    (timedelta(minutes=15), 60),
    (timedelta(hours=2), 300),
    (timedelta(hours=12), 1800),
    (timedelta(days=2), 7200),
    (timedelta(days=7), 21600),
)

_log = logging.getLogger(__name__)


class DatabaseReader:
    """Belongs to the watchdog that leads. A new leader compares statements from its second look."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._statements: dict[int, tuple[float, Statements]] = {}
        self._away_until: dict[int, float] = {}

    def read_all(self) -> None:
        """Read the statistics of the database of every unfinished rollout."""
        for rollout in Rollout.objects.filter(environment__in=names_there()):
            if self._clock() < self._away_until.get(rollout.pk, float("-inf")):
                continue
            with isolated(f"The database statistics of {rollout}"):
                if not gates.is_done(gates.newest_runs(rollout).get(CONTRACT)):
                    self._try(rollout)

    def _try(self, rollout: Rollout) -> None:
        try:
            self.read(rollout)
        except UnknownPlan:
            return
        except TargetAway as error:
            self._away_until[rollout.pk] = self._clock() + AWAY_SECONDS
            _log.warning("%s was not read: %s", rollout, error)
        except psycopg.Error as error:
            _log.warning("%s was not read: %s", rollout, str(error).strip())

    def read(self, rollout: Rollout) -> DatabaseReading:
        """One reading. Raises psycopg.Error."""
        plan = plans.get(rollout.plan)
        # A slow database must not keep the watchdog from its other work.
        with target_of(rollout.environment).connect(connect_timeout=3) as connection:
            connection.execute("SET statement_timeout = '2s'; SET lock_timeout = '100ms'")
            reading = DatabaseReading.objects.create(
                rollout=rollout,
                at=timezone.now(),
                seconds=EVERY,
                server=statistics.read_server(connection),
                tables=dict(_tables(connection, plan)),
                statements=self._executed(rollout, connection),
            )
            # While an audit counts them, nobody else needs to.
            with suppress(psycopg.errors.LockNotAvailable):
                bound_notes(connection, plan)
            return reading

    def _executed(self, rollout: Rollout, connection: Connection) -> list[dict[str, Any]] | None:
        now = self._clock()
        at, before = self._statements.get(rollout.pk, (None, None))
        if at is not None and now - at < STATEMENTS_EVERY:
            return None
        after = statistics.read_statements(connection)
        if after is None:
            return None
        self._statements[rollout.pk] = (now, after)
        if before is None:
            return None
        between = statistics.statements_between(before, after)
        texts = statistics.texts_of(connection, list(between))
        return [
            {"query": texts.get(key, key), "calls": calls, "ms": ms, "rows": rows}
            for key, (calls, ms, rows) in between.items()
        ]


def _tables(connection: Connection, plan: Plan) -> Iterable[tuple[str, statistics.Numbers]]:
    for table in plan.tables:
        try:
            yield table.label, statistics.read_table(connection, table)
        except psycopg.errors.LockNotAvailable:
            # A statement changes its schema: the next reading has it again.
            continue


def added_up(statements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same statements together, those that took longest first."""
    by_query: dict[str, dict[str, Any]] = {}
    for statement in statements:
        query = statement["query"]
        sums = by_query.setdefault(query, {"query": query, "calls": 0, "ms": 0, "rows": 0})
        for name in ("calls", "ms", "rows"):
            sums[name] += statement[name]
    longest = sorted(by_query.values(), key=lambda sums: -sums["ms"])
    return longest[: statistics.MAX_STATEMENTS]


def downsample(*, now: datetime | None = None) -> int:
    """Keep the last reading of each interval, with the statements of all; how many were deleted."""
    now = now or timezone.now()
    retention = setting("TELEMETRY_KEPT", RETENTION)
    gone, _ = DatabaseReading.objects.filter(at__lt=now - retention).delete()
    for after, seconds in RESOLUTIONS:
        finer = DatabaseReading.objects.filter(at__lt=now - after, seconds__lt=seconds)
        with journal.atomic():
            parts: dict[tuple[int, int], list[DatabaseReading]] = defaultdict(list)
            for reading in finer.select_for_update():
                parts[reading.rollout_id, int(reading.at.timestamp()) // seconds].append(reading)
            for part in parts.values():
                last = part[-1]
                last.seconds, last.statements = seconds, _added_up(part)
                last.save(update_fields=["seconds", "statements"])
                DatabaseReading.objects.filter(
                    pk__in=[reading.pk for reading in part[:-1]]
                ).delete()
                gone += len(part) - 1
    return gone


def _added_up(readings: Iterable[DatabaseReading]) -> list[dict[str, Any]] | None:
    known = [reading.statements for reading in readings if reading.statements is not None]
    return None if not known else added_up(chain.from_iterable(known))
