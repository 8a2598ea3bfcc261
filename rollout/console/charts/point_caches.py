"""The points of the monitoring page's plots. Those that are over do not change any more: they are
kept, since a month of measurements takes longer to add up than the page to make."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from django.core.cache import cache

from rollout.console.http.fragments import kept_for
from rollout.telemetry.operation_stats import OperationStats, Point, over_time_and_lately
from rollout.telemetry.retention import interval_start

# After this time every process has written its measurements, or has died with them.
SETTLED_AFTER = timedelta(minutes=1)
KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Over:
    """The points of a plot from one moment until another, which is a point's beginning too."""

    since: datetime
    until: datetime
    points: list[Point]


def points_and_lately(
    since: datetime, until: datetime, *, width: timedelta, operation: str, lately: timedelta
) -> tuple[list[Point], dict[str, OperationStats]]:
    """As ``over_time_and_lately``, for a ``since`` from ``interval_start`` with this ``width``."""
    seconds = int(width.total_seconds())
    digest = blake2b(operation.encode(), digest_size=12).hexdigest()
    key = f"rollout-points-{seconds}-{digest}"
    over: Over | None = cache.get(key)
    if over is None or not over.since <= since <= over.until:
        over = Over(since, since, [])
    newer, last = over_time_and_lately(
        over.until, until, width=width, operation=operation, lately=lately
    )
    points = [point for point in over.points if point.at >= since] + newer
    settled = max(interval_start(until - SETTLED_AFTER, seconds), over.until)
    done = Over(since, settled, [point for point in points if point.at < settled])
    cache.set(key, done, kept_for(KEPT_SECONDS))
    return points, last
