"""What the journal knows of the application's operations: over a span of time, or over time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from rollout.models import Measurement
from rollout.telemetry.histogram import Histogram


@dataclass
class Figures:
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
    """All operations, or one, in the bucket that began at ``at``."""

    at: datetime
    figures: Figures


def figures(since: datetime, until: datetime) -> dict[str, Figures]:
    """Each operation in a span of time, by name."""
    found: dict[str, Figures] = defaultdict(Figures)
    for row in _rows(since, until):
        found[row.operation].add(row)
    return dict(sorted(found.items()))


def together(several: Iterable[Figures]) -> Figures:
    """All of them added up."""
    result = Figures()
    for one in several:
        result.calls += one.calls
        result.errors += one.errors
        result.queries += one.queries
        result.database_seconds += one.database_seconds
        result.durations.merge(one.durations)
    return result


def over_time_and_lately(
    since: datetime, until: datetime, *, width: timedelta, operation: str, lately: timedelta
) -> tuple[list[Point], dict[str, Figures]]:
    """One operation, or all, over time, and each of them in the last of it; read once."""
    found: dict[int, Figures] = defaultdict(Figures)
    last: dict[str, Figures] = defaultdict(Figures)
    for row in _rows(min(since, until - lately), until):
        if row.at >= until - lately:
            last[row.operation].add(row)
        if row.at >= since and operation in ("", row.operation):
            found[(row.at - since) // width].add(row)
    ordered = [Point(since + number * width, found[number]) for number in sorted(found)]
    return ordered, dict(last)


def over_time(since: datetime, until: datetime, *, points: int, operation: str = "") -> list[Point]:
    """One operation, or all, in so many equal stretches; those without calls are left out."""
    width = max((until - since) / points, timedelta(seconds=1))
    found: dict[int, Figures] = defaultdict(Figures)
    for row in _rows(since, until, operation):
        found[(row.at - since) // width].add(row)
    return [Point(since + number * width, found[number]) for number in sorted(found)]


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


def _rows(since: datetime, until: datetime, operation: str = "") -> Iterator[Row]:
    found = Measurement.objects.filter(at__gte=since, at__lt=until)
    if operation:
        found = found.filter(operation=operation)
    # In one piece: a cursor for pieces would be two more round trips.
    return map(Row._make, found.order_by().values_list(*Row._fields))


def windows(until: datetime, *, seconds: int, number: int) -> list[dict[str, Figures]]:
    """The last equal windows before a moment, the oldest first, each by operation."""
    since = until - timedelta(seconds=seconds * number)
    found: list[dict[str, Figures]] = [defaultdict(Figures) for _ in range(number)]
    for row in _rows(since, until):
        found[int((row.at - since).total_seconds() // seconds)][row.operation].add(row)
    return found
