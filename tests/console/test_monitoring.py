"""The monitoring page: what it says of operations, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rollout.models import Measurement, Rollout
from rollout.telemetry.histogram import Histogram
from tests.console import journal
from tests.console.journal import PAGE, browser_of, fragment_of, ran, text_of

pytestmark = pytest.mark.django_db

ADDRESS = f"{PAGE}monitoring/"


@pytest.fixture
def rollout() -> Rollout:
    return journal.the_rollout()


def measured(operation: str, *, ago: timedelta, ms: float, calls: int = 50, **more: Any) -> None:
    durations = Histogram()
    for _ in range(calls):
        durations.add(ms / 1000)
    Measurement.objects.create(
        at=timezone.now() - ago,
        seconds=5,
        operation=operation,
        calls=calls,
        durations=durations.as_json(),
        **more,
    )


def test_it_says_what_to_do_while_nothing_is_measured(rollout: Rollout) -> None:
    assert "rollout.telemetry.operation" in text_of(browser_of("viewer"), ADDRESS)


def test_an_operation_is_compared_with_the_hour_before_the_phase(rollout: Rollout) -> None:
    now = timezone.now()
    ran(rollout, 1, created_at=now - timedelta(minutes=20))
    run = rollout.runs.get()
    type(run).objects.filter(pk=run.pk).update(created_at=now - timedelta(minutes=20))
    measured("search", ago=timedelta(minutes=40), ms=10)
    measured("search", ago=timedelta(minutes=1), ms=80)
    measured("detail", ago=timedelta(minutes=40), ms=10)
    measured("detail", ago=timedelta(minutes=1), ms=10)
    measured("create", ago=timedelta(minutes=40), ms=10)
    measured("create", ago=timedelta(minutes=1), ms=10, errors=25)
    measured("upload", ago=timedelta(minutes=1), ms=10, calls=3)
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    for operation, verdict in (
        ("search", "Slower"),
        ("detail", "As before"),
        ("create", "Failing"),
        ("upload", "Too few calls"),
    ):
        row = page.partition(f'<th scope="row">{operation}</th>')[2].partition("</tr>")[0]
        assert verdict in row, operation
    assert "Phase 1" in page


def test_one_operation_and_another_time_can_be_chosen(rollout: Rollout) -> None:
    measured("search", ago=timedelta(hours=3), ms=10)
    client = browser_of("viewer")
    assert "Latency" not in text_of(client, ADDRESS)
    assert "Latency of search" in text_of(client, ADDRESS, hours="6", operation="search")
    assert "Latency" not in text_of(client, ADDRESS, hours="6", operation="detail")


@pytest.mark.parametrize("hours", ["0", "-1", "x", "99999", "'"])
def test_a_time_that_nobody_offers_is_the_last_hour(rollout: Rollout, hours: str) -> None:
    assert "Monitoring" in text_of(browser_of("viewer"), ADDRESS, hours=hours)


def test_the_name_of_an_operation_is_never_markup(rollout: Rollout) -> None:
    measured("<script>x</script>", ago=timedelta(minutes=1), ms=10)
    assert "<script>x" not in text_of(browser_of("viewer"), ADDRESS, operation="<script>x")


def test_a_fragment_is_the_live_part_alone(rollout: Rollout) -> None:
    measured("search", ago=timedelta(minutes=1), ms=10)
    fragment = fragment_of(browser_of("viewer"), ADDRESS)
    assert "Latency" in fragment
    assert "<html" not in fragment


def test_the_number_of_queries_does_not_grow_with_what_was_measured(rollout: Rollout) -> None:
    client = browser_of("viewer")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            text_of(client, ADDRESS)
        return len(seen)

    measured("search", ago=timedelta(minutes=1), ms=10)
    ran(rollout, 0)
    before = queries()
    for number in range(50):
        measured(f"operation {number}", ago=timedelta(minutes=number), ms=10)
    ran(rollout, 1)
    ran(rollout, 2)
    assert queries() == before
