"""What may be scheduled: a phase that is not done, at a time to come, once."""

from dataclasses import replace
from datetime import UTC, time, timedelta

import pytest
from django.utils import timezone

from rollout.models import LogEntry, Rollout
from rollout.plan import MaintenanceWindow, plans
from rollout.runner import Refused
from tests.support import rollouts
from tests.support.rollouts import TINY, schedule

HOUR = timedelta(hours=1)


def test_two_requests_are_one_start(tiny: Rollout) -> None:
    at = timezone.now() + HOUR
    assert schedule(tiny, at) == schedule(tiny, at)
    assert LogEntry.objects.filter(event="start scheduled").count() == 1
    with pytest.raises(Refused, match=r"ada has scheduled phase 0 for .* CET. Cancel that first"):
        schedule(tiny, at + HOUR)


def test_a_phase_that_runs_is_not_scheduled(tiny: Rollout) -> None:
    rollouts.start(tiny, 0)
    with pytest.raises(Refused, match="It has started already"):
        schedule(tiny)


@pytest.mark.parametrize(
    ("ahead", "refusal"),
    [
        (timedelta(0), "is in the past. Choose a later time"),
        (-HOUR, "is in the past. Choose a later time"),
        (timedelta(days=61), "is too far ahead. Choose a time within the next 60 days"),
    ],
)
def test_only_a_time_to_come_will_do(tiny: Rollout, ahead: timedelta, refusal: str) -> None:
    with pytest.raises(Refused, match=refusal):
        schedule(tiny, timezone.now() + ahead)


def test_a_phase_that_is_done_is_not_scheduled(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0)
    with pytest.raises(Refused, match="is already complete"):
        schedule(tiny)


def test_only_a_time_within_the_window_will_do(tiny: Rollout) -> None:
    window = MaintenanceWindow(opens=time(2), closes=time(4), zone="UTC")
    plan = replace(TINY, phases=(replace(TINY.phases[0], gates=(window,)), *TINY.phases[1:]))
    plans._plans.append(plan)
    plans._plans.remove(TINY)
    try:
        tomorrow = (timezone.now() + timedelta(days=1)).astimezone(UTC)
        with pytest.raises(Refused, match=r"is outside the maintenance window \(every day, 02:00"):
            schedule(tiny, tomorrow.replace(hour=5))
        assert schedule(tiny, tomorrow.replace(hour=3)).phase == 0
    finally:
        plans._plans.append(TINY)
        plans._plans.remove(plan)
