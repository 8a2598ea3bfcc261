"""Points of plots that are over are read once, and stay what they were."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rollout.console.charts.point_caches import SETTLED_AFTER, points_and_lately
from rollout.models import Measurement
from rollout.telemetry.operation_stats import OperationStats, Point, over_time_and_lately
from rollout.telemetry.retention import interval_start
from tests.console import journal

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shared_parts")]

WIDTH, SPAN, NOW = timedelta(minutes=1), timedelta(minutes=20), timedelta(minutes=5)
NOON = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)

Answer = tuple[list[Point], dict[str, OperationStats]]


def every_ten_seconds(since: datetime, until: datetime) -> None:
    while since < until:
        journal.measured(since, ms=since.second + 1)
        journal.measured(since, ms=since.minute + 1, operation="detail")
        since += timedelta(seconds=10)


def since_of(until: datetime, span: timedelta = SPAN) -> datetime:
    return interval_start(until - span, int(WIDTH.total_seconds()))


def both(until: datetime, operation: str = "", span: timedelta = SPAN) -> tuple[Answer, Answer]:
    since = since_of(until, span)
    return (
        points_and_lately(since, until, width=WIDTH, operation=operation, lately=NOW),
        over_time_and_lately(since, until, width=WIDTH, operation=operation, lately=NOW),
    )


@pytest.mark.parametrize("operation", ["", "search"])
def test_what_is_kept_says_the_same_as_what_is_read(operation: str) -> None:
    every_ten_seconds(NOON - SPAN, NOON)
    for later in (0, 10, 45, 70, 600, 3000):
        until = NOON + timedelta(seconds=later)
        every_ten_seconds(until - timedelta(seconds=10), until)
        kept, read = both(until, operation)
        assert kept == read


def test_a_longer_time_than_what_is_kept_is_read_whole() -> None:
    every_ten_seconds(NOON - 2 * SPAN, NOON)
    both(NOON)
    kept, read = both(NOON, span=2 * SPAN)
    assert kept == read


def test_what_is_over_is_not_read_again_and_what_is_not_is() -> None:
    every_ten_seconds(NOON - SPAN, NOON)
    both(NOON)
    Measurement.objects.filter(at__lt=NOON - NOW).delete()
    journal.measured(NOON - SETTLED_AFTER / 2, ms=900)
    with CaptureQueriesContext(connection) as asked:
        kept, _lately = points_and_lately(
            since_of(NOON), NOON, width=WIDTH, operation="", lately=NOW
        )
    assert len(asked) == 1
    assert kept[0].at == since_of(NOON)
    assert kept[0].stats.calls
    assert max(point.stats.milliseconds(1.0) or 0 for point in kept) > 800
