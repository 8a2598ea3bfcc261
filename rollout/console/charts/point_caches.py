"""The points of plots over time. Measurements that are over do not change any more: what they add
up to is kept, since a month of them takes longer to add up than the page to make."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from django.core.cache import cache

from rollout.console.http.fragments import kept_for
from rollout.telemetry.operation_stats import OperationStats, Point, merged, read_points
from rollout.telemetry.retention import interval_start

# After this time every process has written its measurements, or has died with them.
SETTLED_AFTER = timedelta(minutes=1)
KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Over:
    """The points of a plot from one moment until another; the last may continue after it."""

    since: datetime
    until: datetime
    points: list[Point]


def points_and_lately(
    since: datetime,
    until: datetime,
    *,
    width: timedelta,
    plan: str,
    operation: str,
    lately: timedelta = timedelta(),
) -> tuple[list[Point], dict[str, OperationStats]]:
    """One operation of a plan, or all, over time, and each of them in the last of it.

    ``since`` is from ``interval_start`` with this ``width``. Read are the measurements of the last
    minutes alone: those of an interval of hours that is not over are kept too.
    """
    seconds = int(width.total_seconds())
    digest = blake2b(f"{plan}\0{operation}".encode(), digest_size=12).hexdigest()
    key = f"rollout-points-{seconds}-{digest}"
    over: Over | None = cache.get(key)
    if over is None or not over.since <= since <= over.until:
        over = Over(since, since, [])
    grain = min(seconds, int(SETTLED_AFTER.total_seconds()))
    settled = max(interval_start(until - SETTLED_AFTER, grain), over.until)
    read = read_points(
        since,
        until,
        after=over.until,
        settled=settled,
        width=width,
        plan=plan,
        operation=operation,
        lately=lately,
    )
    kept = _joined([point for point in over.points if point.at >= since], read.settled)
    if settled > over.until:
        cache.set(key, Over(since, settled, kept), kept_for(KEPT_SECONDS))
    return _joined(kept, read.unsettled), read.lately


def _joined(points: list[Point], others: list[Point]) -> list[Point]:
    """In order of time; what begins at the same moment is one point."""
    stats = {point.at: point.stats for point in points}
    for point in others:
        before = stats.get(point.at)
        stats[point.at] = point.stats if before is None else merged([before, point.stats])
    return [Point(at, stats[at]) for at in sorted(stats)]
