"""Statistics of the application's operations, read from the journal's measurements.

Those of a plan: what asked for the modes of other plans alone is left out.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections, router
from django.db.models import Q
from django.utils import timezone

from rollout.models import Measurement
from rollout.telemetry.histograms import Histogram
from rollout.telemetry.retention import longest_interval


@dataclass
class OperationStats:
    """Calls of an operation, or of all, in a span of time."""

    calls: int = 0
    errors: int = 0
    queries: int = 0
    database_seconds: float = 0.0
    durations: Histogram = field(default_factory=Histogram)

    def add(self, row: "Row") -> None:
        self.calls += row.calls
        self.errors += row.errors
        self.queries += row.queries
        self.database_seconds += row.database_seconds
        self.durations.merge_json(row.durations)

    def merge(self, other: "OperationStats") -> None:
        self.calls += other.calls
        self.errors += other.errors
        self.queries += other.queries
        self.database_seconds += other.database_seconds
        self.durations.merge(other.durations)

    @property
    def error_rate(self) -> float:
        return self.errors / self.calls if self.calls else 0.0

    def milliseconds(self, share: float) -> float | None:
        """A quantile of the durations."""
        seconds = self.durations.quantile(share)
        return None if seconds is None else seconds * 1000

    @property
    def p50(self) -> float | None:
        return self.milliseconds(0.50)

    @property
    def p95(self) -> float | None:
        return self.milliseconds(0.95)

    @property
    def p99(self) -> float | None:
        return self.milliseconds(0.99)


@dataclass(frozen=True)
class Point:
    """All operations, or one, in the bucket that began at ``at``.

    ``seconds`` is how long it was measured from then on, where a plot draws that.
    """

    at: datetime
    stats: OperationStats
    seconds: float = 0.0

    @property
    def end(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)


def stats_by_operation(since: datetime, until: datetime, *, plan: str) -> dict[str, OperationStats]:
    """Each operation in a span of time, by name."""
    stats: dict[str, OperationStats] = defaultdict(OperationStats)
    for row in _rows(since, until, plan):
        stats[row.operation].add(row)
    return dict(sorted(stats.items()))


def merged(several: Iterable[OperationStats]) -> OperationStats:
    """The sum of statistics."""
    result = OperationStats()
    for stats in several:
        result.merge(stats)
    return result


# Grouped where the rows are: a page may look at weeks, and has some dozens of points.
_BY_POINT = f"""
SELECT floor(extract(epoch FROM at - %s) / %s)::int, at >= %s, at >= %s, at >= %s, operation,
       sum(calls)::bigint, sum(errors)::bigint, sum(queries)::bigint,
       sum(database_seconds)::float8, jsonb_agg(durations)::text
  FROM {Measurement._meta.db_table}
 WHERE at >= %s AND at < %s AND plan IN ('', %s) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1
"""  # noqa: S608  the table's name is the model's


class PointsRead(NamedTuple):
    """Points before and from a moment on, both of the interval that it is in; and each operation
    in the last of the time."""

    settled: list[Point]
    unsettled: list[Point]
    lately: dict[str, OperationStats]


def read_points(
    since: datetime,
    until: datetime,
    *,
    after: datetime,
    settled: datetime,
    width: timedelta,
    plan: str,
    operation: str,
    lately: timedelta,
) -> PointsRead:
    """One operation, or all, over time, and each of them in the last of it; read once.

    Points begin at ``since`` and each ``width`` later; measurements before ``after`` are in none.
    """
    points: dict[tuple[bool, int], OperationStats] = defaultdict(OperationStats)
    last: dict[str, OperationStats] = defaultdict(OperationStats)
    late = until - lately
    with connections[router.db_for_read(Measurement)].cursor() as cursor:
        cursor.execute(
            _BY_POINT,
            [since, width.total_seconds(), late, after, settled, min(after, late), until, plan],
        )
        for number, is_late, is_new, is_unsettled, name, *sums, durations in cursor.fetchall():
            stats = OperationStats(*sums)
            stats.durations.merge_all(json.loads(durations))
            if is_late:
                last[name].merge(stats)
            if is_new and operation in ("", name):
                points[is_unsettled, number].merge(stats)
    before, newer = (
        [Point(since + n * width, points[which, n]) for which, n in points if which == unsettled]
        for unsettled in (False, True)
    )
    return PointsRead(before, newer, dict(last))


def over_time(since: datetime, until: datetime, *, points: int, plan: str) -> list[Point]:
    """All operations in about equal stretches; those without calls are left out.

    Each is as long as its measurements were: kept ones are of half a minute or more, and the first
    may have begun before ``since``.
    """
    width = max((until - since) / points, timedelta(seconds=1))
    buckets: dict[int, list[Row]] = defaultdict(list)
    for row in _rows(since - longest_interval(timezone.now() - since), until, plan):
        if row.end > since:
            buckets[(row.at - since) // width].append(row)
    return [_point(buckets[number]) for number in sorted(buckets)]


def _point(rows: "list[Row]") -> Point:
    stats = OperationStats()
    for row in rows:
        stats.add(row)
    at, end = min(row.at for row in rows), max(row.end for row in rows)
    return Point(at, stats, (end - at).total_seconds())


class Row(NamedTuple):
    """A measurement, without what a model instance costs: there may be many thousands."""

    at: datetime
    seconds: int
    operation: str
    calls: int
    errors: int
    queries: int
    database_seconds: float
    durations: dict[str, int]

    @property
    def end(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)


def of_plan(plan: str) -> Q:
    """Measurements that count for a rollout of the plan."""
    return Q(plan__in=("", plan))


def _rows(since: datetime, until: datetime, plan: str) -> Iterator[Row]:
    rows = Measurement.objects.filter(of_plan(plan), at__gte=since, at__lt=until)
    # In one piece: a cursor for pieces would be two more round trips.
    return map(Row._make, rows.order_by().values_list(*Row._fields))


def windows(
    until: datetime, *, seconds: int, number: int, plan: str
) -> list[dict[str, OperationStats]]:
    """The last equal windows before a moment, the oldest first, each by operation."""
    since = until - timedelta(seconds=seconds * number)
    stats: list[dict[str, OperationStats]] = [defaultdict(OperationStats) for _ in range(number)]
    for row in _rows(since, until, plan):
        stats[int((row.at - since).total_seconds() // seconds)][row.operation].add(row)
    return stats
