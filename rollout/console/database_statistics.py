"""The database's own statistics, as the monitoring page shows them: now, before, and over time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db.models import Case, JSONField, Q, TextField, When
from django.db.models.functions import Cast

from rollout.console.charts.lines import Level, Plot, Values, moving_of, numbers_of, plot_of
from rollout.console.formats import byte_size, duration, figure, number
from rollout.engine.health import MAX_CONNECTIONS_SHARE
from rollout.engine.statistics import SERVER_COUNTERS, TABLE_COUNTERS, between
from rollout.models import DatabaseReading, PhaseRun, Rollout
from rollout.telemetry.baselines import BASELINE, baseline_until
from rollout.watchdog.database_statistics import added_up

MAX_READINGS = 1500
MAX_POINTS = 90
# A smaller share is no growth to speak of.
MIN_GROWTH = 0.01
STATEMENT_WINDOW = timedelta(hours=1)
# Current rates are measured over this time.
RATE_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True)
class Reading:
    """A ``DatabaseReading``. A page reads hundreds, and looks into those that it draws."""

    at: datetime
    server_json: str
    tables_json: str
    executed: list[dict[str, Any]] | None
    """The statements; None of those that are older than STATEMENT_WINDOW."""

    @cached_property
    def server(self) -> dict[str, Any]:
        return dict(json.loads(self.server_json))

    @cached_property
    def tables(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self.tables_json))


@dataclass(frozen=True)
class Fact:
    """A number of the server now, and in the hour that the newest run is compared with."""

    name: str
    unit: str
    now: float | None
    before: float | None
    most: float | None = None

    def shown(self, value: float | None) -> str:
        """A value with its unit."""
        if self.unit.startswith("bytes"):
            return byte_size(value) + self.unit.removeprefix("bytes")
        if self.unit == "s":
            return duration(value)
        if self.unit == "/s":
            return f"{figure(value)}/s"
        return number(value)

    @property
    def is_zero(self) -> bool:
        """Whether it is zero now and was zero before."""
        return self.now == 0 and not self.before

    @property
    def value_now(self) -> str:
        of = f" of {number(self.most)}" if self.most is not None else ""
        return self.shown(self.now) + of

    @property
    def value_before(self) -> str:
        return self.shown(self.before)


@dataclass(frozen=True)
class TableNow:
    """A table's statistics now; HOT share and updates since the newest phase began."""

    label: str
    size: float | None
    size_before: float | None
    index_size: float | None
    live: float | None
    dead: float | None
    updates: float | None
    hot_share: float | None
    vacuums: float | None
    vacuuming: bool
    vacuumed_at: datetime | None

    @property
    def dead_share(self) -> float | None:
        if self.dead is None or not (self.live or 0) + self.dead:
            return None
        return self.dead / ((self.live or 0) + self.dead)

    @property
    def growth(self) -> float | None:
        """Times its size before; None without a difference to speak of."""
        times = self.size / self.size_before if self.size and self.size_before else 1.0
        return times if abs(times - 1) >= MIN_GROWTH else None


@dataclass(frozen=True)
class DatabaseCard:
    """All of it; ``statements`` is empty where pg_stat_statements cannot be read."""

    at: datetime
    facts: list[Fact]
    zero_facts: list[str]
    """The names of those that are zero and were zero before."""
    tables: list[TableNow]
    plots: list[Plot]
    zero: list[str]
    """The series that are zero throughout."""
    statements: list[dict[str, Any]]

    @property
    def numbers(self) -> list[tuple[datetime, list[float | None]]]:
        return numbers_of(self.plots)


def database_card(
    rollout: Rollout, newest: PhaseRun | None, since: datetime, until: datetime
) -> DatabaseCard | None:
    """The statistics in a span of time; None while there is no reading."""
    in_time = Q(at__gt=since, at__lte=until)
    began = newest.created_at if newest else since
    baseline_end = baseline_until(newest) if newest else since
    before = Q(at__gt=began - BASELINE, at__lte=began)
    in_baseline = Q(at__gt=baseline_end - BASELINE, at__lte=baseline_end)
    newest_first = (
        DatabaseReading.objects.filter(in_time | before | in_baseline, rollout=rollout)
        .annotate(
            executed=Case(
                When(at__gt=until - STATEMENT_WINDOW, then="statements"), output_field=JSONField()
            ),
            server_json=Cast("server", TextField()),
            tables_json=Cast("tables", TextField()),
        )
        .order_by("-at")
        .values_list("at", "server_json", "tables_json", "executed")[:MAX_READINGS]
    )
    every = [Reading(*row) for row in newest_first][::-1]
    readings = [reading for reading in every if reading.at > since]
    if not readings:
        return None
    earlier = _thinned([s for s in every if began - BASELINE < s.at <= began])
    baseline = _thinned([s for s in every if baseline_end - BASELINE < s.at <= baseline_end])
    last = readings[-1]
    facts = [fact for fact in _facts(readings, baseline) if fact.now is not None]
    plots, zero = moving_of(_plots(readings, since, until, facts))
    return DatabaseCard(
        at=last.at,
        facts=[fact for fact in facts if not fact.is_zero],
        zero_facts=[fact.name for fact in facts if fact.is_zero],
        tables=[_table(label, readings, earlier) for label in last.tables],
        plots=plots,
        zero=zero,
        statements=_statements(statement for s in readings for statement in s.executed or []),
    )


def _thinned(readings: Sequence[Reading]) -> Sequence[Reading]:
    """So many as a plot shows: counters lose nothing by it, and each that is left is decoded."""
    return readings[:: max(1, len(readings) // MAX_POINTS)]


def _rate(readings: Sequence[Reading], counter: str) -> float | None:
    """A server counter by the second, over the stretches in which it was not reset."""
    total = seconds = 0.0
    for first, second in pairwise(readings):
        moved = between(first.server, second.server, [counter])[counter]
        if moved is not None:
            total += moved
            seconds += (second.at - first.at).total_seconds()
    return total / seconds if seconds else None


def _facts(readings: Sequence[Reading], earlier: Sequence[Reading]) -> list[Fact]:
    last = readings[-1]
    lately: Sequence[Reading] = [s for s in readings if s.at > last.at - RATE_WINDOW]
    if len(lately) < 2:
        lately = readings[-2:]
    server = last.server

    def gauge(name: str) -> tuple[float | None, float | None]:
        before = [value for s in earlier if (value := s.server.get(name)) is not None]
        return server.get(name), max(before, default=None)

    return [
        Fact("WAL", "bytes/s", _rate(lately, "wal_bytes"), _rate(earlier, "wal_bytes")),
        Fact("Commits", "/s", _rate(lately, "commits"), _rate(earlier, "commits")),
        Fact("Rollbacks", "/s", _rate(lately, "rollbacks"), _rate(earlier, "rollbacks")),
        Fact("Blocks read", "/s", _rate(lately, "blocks_read"), _rate(earlier, "blocks_read")),
        Fact("Connections", "", *gauge("connections"), most=server.get("max_connections")),
        Fact("Sessions waiting for locks", "", *gauge("lock_waits")),
        Fact("Oldest transaction", "s", *gauge("oldest_transaction")),
        Fact("Deadlocks", "", *_counted(readings, earlier, "deadlocks")),
        Fact("Replicas", "", *gauge("replicas")),
        Fact("Replication lag", "s", *gauge("lag")),
        Fact("WAL retained by slots", "bytes", *gauge("slot_bytes")),
    ]


def _counted(
    readings: Sequence[Reading], earlier: Sequence[Reading], counter: str
) -> tuple[float | None, float | None]:
    def count(of: Sequence[Reading]) -> float | None:
        if len(of) < 2:
            return None
        return between(of[0].server, of[-1].server, SERVER_COUNTERS)[counter]

    return count(readings), count(earlier)


def _table(label: str, readings: Sequence[Reading], earlier: Sequence[Reading]) -> TableNow:
    now = readings[-1].tables[label]
    then = next((s for s in reversed(earlier) if label in s.tables), None) or next(
        s for s in readings if label in s.tables
    )
    written = between(
        {**then.tables[label], **_clock(then)},
        {**now, **_clock(readings[-1])},
        TABLE_COUNTERS,
    )
    updates, hot = written["updates"], written["hot_updates"]
    vacuumed = now.get("vacuumed")
    return TableNow(
        label=label,
        size=now.get("table_bytes"),
        size_before=then.tables[label].get("table_bytes"),
        index_size=now.get("index_bytes"),
        live=now.get("live"),
        dead=now.get("dead"),
        updates=updates,
        hot_share=hot / updates if updates and hot is not None else None,
        vacuums=written["vacuums"],
        vacuuming=bool(now.get("vacuuming")),
        vacuumed_at=datetime.fromtimestamp(vacuumed, UTC) if vacuumed else None,
    )


def _clock(reading: Reading) -> dict[str, Any]:
    """Since when a reading's counters count."""
    return {name: reading.server.get(name) for name in ("started", "reset")}


def _plots(
    every: Sequence[Reading], since: datetime, until: datetime, facts: Iterable[Fact]
) -> list[Plot]:
    readings = _thinned(every)
    wal = [
        (second.at, None if moved is None else moved / (second.at - first.at).total_seconds())
        for first, second in pairwise(readings)
        for moved in [between(first.server, second.server, ["wal_bytes"])["wal_bytes"]]
    ]
    unit, size = _unit_of(wal)
    dead = [
        (label, [(s.at, s.tables.get(label, {}).get("dead")) for s in readings])
        for label in readings[-1].tables
    ]
    sessions = [
        ("connections", [(s.at, s.server.get("connections")) for s in readings]),
        ("waiting for locks", [(s.at, s.server.get("lock_waits")) for s in readings]),
    ]
    by_name = {fact.name: fact for fact in facts}
    gap = max((until - since) / 20, timedelta(minutes=1))
    return [
        plot_of(
            "WAL",
            unit,
            [("WAL", [(at, None if rate is None else rate / size) for at, rate in wal])],
            since,
            until,
            levels=_before(by_name.get("WAL"), size),
            gap=gap,
        ),
        plot_of(
            "Dead rows", "rows", dead, since, until, at_least=2, gap=gap, zero="dead rows of {}"
        ),
        plot_of(
            "Sessions",
            "sessions",
            sessions,
            since,
            until,
            levels=_of_connections(by_name.get("Connections")),
            at_least=2,
            gap=gap,
            zero="sessions {}",
        ),
    ]


def _unit_of(rates: Values) -> tuple[str, float]:
    """The unit in which rates in bytes a second are plain numbers, and its size."""
    highest = max((rate for _, rate in rates if rate is not None), default=0.0)
    return ("MB/s", 1e6) if highest >= 1e6 else ("kB/s", 1e3)


def _before(fact: Fact | None, size: float = 1.0) -> list[Level]:
    if fact is None or not fact.before:
        return []
    return [Level("", fact.before / size, is_baseline=True)]


def _of_connections(fact: Fact | None) -> list[Level]:
    levels = _before(fact)
    if fact is not None and fact.most:
        levels.append(Level("backfills throttle at", fact.most * MAX_CONNECTIONS_SHARE))
    return levels


def _statements(executed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What took the database longest in the last hour, with milliseconds a call."""
    every = added_up(executed)
    total = sum(statement["ms"] for statement in every)
    return [
        {
            **statement,
            "per_call": statement["ms"] / statement["calls"],
            "share": statement["ms"] / total if total else 0.0,
        }
        for statement in every
        if statement["calls"]
    ]
