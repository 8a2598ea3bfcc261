"""When a key runs out, by the readings of its sequence, and what the rollout's page says of it."""

import re
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.console.vitals import Vital, vitals_of
from rollout.models import DatabaseReading, Rollout
from rollout.plan import plans
from rollout.queries.key_forecasts import widened_key
from rollout.queries.status import find_rollout, status_of
from tests.console.journal import text_of
from tests.plan.test_wide_keys import TICKETS, widening

PLAN = widening(TICKETS)
DAY = timedelta(days=1)


@pytest.fixture
def tickets(db: None, own_plans: None) -> Rollout:
    plans.register(PLAN)
    return find_rollout(PLAN.name, "production")


def read_out(rollout: Rollout, at: datetime, **drawn: float | None) -> DatabaseReading:
    """A reading of the numbers that sequences of the keys of tables have given."""
    return DatabaseReading.objects.create(
        rollout=rollout,
        at=at,
        seconds=10,
        server={"lock_waits": 0, "replicas": 0, "lag": None},
        tables={label: {"live": 5, "drawn": value} for label, value in drawn.items()},
    )


def days_left(rollout: Rollout, reading: DatabaseReading) -> int | None:
    key = widened_key(rollout, PLAN, reading.at, reading.tables)
    assert key is not None
    return None if key.left is None else key.left.days


def test_the_rate_is_that_of_the_last_week_and_needs_a_day(tickets: Rollout) -> None:
    now = timezone.now()
    # What it was before is not the present rate.
    read_out(tickets, now - 10 * DAY, ticket=1)
    read_out(tickets, now - 6 * DAY, ticket=None)
    assert days_left(tickets, read_out(tickets, now - 2 * DAY, ticket=1_000_000_000)) is None
    assert days_left(tickets, read_out(tickets, now, ticket=1_200_000_000)) == 9
    DatabaseReading.objects.filter(at__lt=now - DAY).delete()
    newest = read_out(tickets, now + timedelta(hours=23), ticket=1_250_000_000)
    assert days_left(tickets, newest) is None


def test_a_key_that_has_no_sequence_or_no_reading_has_no_forecast(tickets: Rollout) -> None:
    now = timezone.now()
    assert widened_key(tickets, PLAN, now, {}) is None
    reading = read_out(tickets, now, ticket=None)
    assert widened_key(tickets, PLAN, now, reading.tables) is None


def test_a_sequence_that_gives_no_numbers_lasts(tickets: Rollout) -> None:
    now = timezone.now()
    read_out(tickets, now - 2 * DAY, ticket=70)
    assert days_left(tickets, read_out(tickets, now, ticket=70)) == 36_500


def vital(rollout: Rollout) -> Vital | None:
    by_label = {v.label: v for v in vitals_of(status_of(rollout), [])}
    return by_label.get("Key runs out")


def test_the_page_shows_among_its_vitals_in_how_many_days_the_key_runs_out(
    tickets: Rollout, viewer: Client
) -> None:
    now = timezone.now()
    assert vital(tickets) is None
    read_out(tickets, now, ticket=1_200_000_000)
    pending = vital(tickets)
    assert pending is not None
    assert (pending.value, pending.is_known) == ("Pending", False)
    assert pending.detail == "ticket.id has used 55.9%; its rate is known after a day of readings"
    read_out(tickets, now - 2 * DAY, ticket=1_000_000_000)
    known = vital(tickets)
    assert known is not None
    assert known.value == "In 9 days"
    since = f"{now - 2 * DAY:%Y-%m-%d}"
    assert known.detail == f"ticket.id has used 55.9%; 100,000,000 a day since {since}"
    text = text_of(viewer, tickets.get_absolute_url())
    assert re.search(r"<dt>Key runs out</dt>\s*<dd>\s*<span [^>]*>In 9 days</span>", text)
