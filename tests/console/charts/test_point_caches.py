"""Points of plots that are over are read once, and stay what they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rollout.console.charts.point_caches import SETTLED_AFTER, points_and_lately
from rollout.models import Measurement
from rollout.telemetry.operation_stats import OperationStats, Point, read_points
from rollout.telemetry.retention import interval_start
from tests.console import journal
from tests.support.rollouts import PLAN

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shared_parts")]

WIDTH, SPAN, NOW = timedelta(minutes=1), timedelta(minutes=20), timedelta(minutes=5)
NOON = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)

Answer = tuple[list[Point], dict[str, OperationStats]]


def every_ten_seconds(since: datetime, until: datetime) -> None:
    while since < until:
        journal.measured(since, ms=since.second + 1)
        journal.measured(since, ms=since.minute + 1, operation="detail")
        since += timedelta(seconds=10)


def since_of(until: datetime, span: timedelta = SPAN, width: timedelta = WIDTH) -> datetime:
    return interval_start(until - span, int(width.total_seconds()))


def both(
    until: datetime, operation: str = "", span: timedelta = SPAN, width: timedelta = WIDTH
) -> tuple[Answer, Answer]:
    since = since_of(until, span, width)
    asked: Any = {"width": width, "plan": PLAN, "operation": operation, "lately": NOW}
    read = read_points(since, until, after=since, settled=until, **asked)
    return points_and_lately(since, until, **asked), (read.settled, read.lately)


@pytest.mark.parametrize("width", [timedelta(seconds=s) for s in (10, 60, 90, 600)])
@pytest.mark.parametrize("operation", ["", "search"])
def test_cached_points_equal_those_that_are_read(operation: str, width: timedelta) -> None:
    every_ten_seconds(NOON - SPAN, NOON)
    for later in (0, 10, 45, 70, 600, 3000):
        until = NOON + timedelta(seconds=later)
        every_ten_seconds(until - timedelta(seconds=10), until)
        kept, read = both(until, operation, width=width)
        assert kept == read


def test_an_unfinished_interval_reads_its_last_minutes_alone() -> None:
    every_ten_seconds(NOON - SPAN, NOON)
    hour = timedelta(hours=1)
    before, _ = both(NOON, width=hour)
    Measurement.objects.filter(at__lt=NOON - NOW).delete()
    after, _ = both(NOON, width=hour)
    assert after[0] == before[0]


def test_a_longer_time_than_what_is_kept_is_read_whole() -> None:
    every_ten_seconds(NOON - 2 * SPAN, NOON)
    both(NOON)
    kept, read = both(NOON, span=2 * SPAN)
    assert kept == read


def test_finished_intervals_are_read_once_and_unfinished_ones_again() -> None:
    every_ten_seconds(NOON - SPAN, NOON)
    both(NOON)
    Measurement.objects.filter(at__lt=NOON - NOW).delete()
    journal.measured(NOON - SETTLED_AFTER / 2, ms=900)
    with CaptureQueriesContext(connection) as asked:
        kept, _lately = points_and_lately(
            since_of(NOON), NOON, width=WIDTH, plan=PLAN, operation="", lately=NOW
        )
    assert len(asked) == 1
    assert kept[0].at == since_of(NOON)
    assert kept[0].stats.calls
    assert max(point.stats.milliseconds(1.0) or 0 for point in kept) > 800
