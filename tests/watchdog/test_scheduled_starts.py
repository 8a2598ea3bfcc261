"""Starts at a time to come: made once, within the window, or told why not."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from rollout import runner
from rollout.models import LogEntry, PhaseRun, Rollout, RunState, ScheduledStart, ScheduleState
from rollout.plan import MaintenanceWindow, plans
from rollout.runner import Refused
from rollout.watchdog import scheduled_starts
from rollout.watchdog.clock_watch import ClockWatch
from rollout.watchdog.loop import Watchdog
from tests.support import rollouts
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA, TINY, Person
from tests.support.servers import Database
from tests.support.threads import at_once

HOUR = timedelta(hours=1)


def schedule(rollout: Rollout, at: datetime | None = None, phase: int = 0) -> ScheduledStart:
    return runner.schedule_start(
        rollout, phase, at=at or timezone.now() + HOUR, zone="Europe/Berlin", actor=ADA
    )


def its_time_has_come(start: ScheduledStart, ago: timedelta = timedelta(seconds=1)) -> None:
    ScheduledStart.objects.filter(pk=start.pk).update(at=timezone.now() - ago)
    # Time comes as a watchdog sees it.
    ClockWatch().look()


def test_the_watchdog_starts_a_phase_once_when_its_time_has_come(tiny: Rollout) -> None:
    start = schedule(tiny)
    Watchdog().look()
    assert not tiny.runs.exists()
    its_time_has_come(start)
    Watchdog().look()
    assert scheduled_starts.start_due() == 0
    run = tiny.runs.get()
    start.refresh_from_db()
    assert (run.actor_name, start.state) == ("ada", ScheduleState.STARTED)
    assert LogEntry.objects.get(event="phase started").source == "watchdog"


def test_two_that_look_at_once_start_it_once(tiny: Rollout) -> None:
    its_time_has_come(schedule(tiny))
    assert sum(at_once(*[scheduled_starts.start_due] * 4)) == 1
    assert tiny.runs.count() == 1


def test_a_watchdog_that_dies_before_it_is_made_leaves_it_to_the_next(
    tiny: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = schedule(tiny)
    its_time_has_come(start)

    def dies(*_: object, **_fields: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(scheduled_starts, "move", dies)
        with pytest.raises(SystemExit):
            scheduled_starts.start_due()
    assert not tiny.runs.exists()
    assert rollouts.queued() == []
    assert scheduled_starts.start_due() == 1
    assert tiny.runs.count() == 1


def test_a_killed_watchdog_is_no_reason_to_miss_it(
    committed_db: Database, qcluster: Running, tmp_path: Path
) -> None:
    """With real processes: the first watchdog is killed before the time, another makes it."""
    rollout = rollouts.the_rollout()
    env = committed_db.env()
    with stopped_after(
        manage_process("rollout", "watchdog", env=env, log=tmp_path / "first")
    ) as first:
        start = schedule(rollout)
        os.kill(first.pid, signal.SIGKILL)
    its_time_has_come(start)
    with stopped_after(manage_process("rollout", "watchdog", env=env, log=tmp_path / "second")):
        wait_until(
            lambda: PhaseRun.objects.filter(rollout=rollout, state=RunState.DONE).exists(),
            seconds=60,
        )
    assert rollout.runs.count() == 1


def test_gates_at_the_time_of_the_start_count(tiny: Rollout) -> None:
    start = schedule(tiny, phase=1)
    its_time_has_come(start)
    scheduled_starts.start_due()
    start.refresh_from_db()
    assert start.state == ScheduleState.NOT_STARTED
    assert start.outcome == ("Gate “Earlier phase done”: Phase 0 must run first.")
    entry = LogEntry.objects.get(event="scheduled start refused")
    assert entry.message.endswith(start.outcome)
    assert not tiny.runs.exists()


@pytest.mark.parametrize("reason", ["late", "another phase", "no lead any more"])
def test_phase_changed_since_it_was_scheduled_is_not_started(tiny: Rollout, reason: str) -> None:
    lead = rollouts.person()
    start = runner.schedule_start(tiny, 0, at=timezone.now() + HOUR, zone="UTC", actor=lead)
    its_time_has_come(start, HOUR if reason == "late" else timedelta(seconds=1))
    if reason == "another phase":
        ScheduledStart.objects.update(phase_digest="another")
    if reason == "no lead any more":
        lead.groups.clear()
    scheduled_starts.start_due()
    start.refresh_from_db()
    assert {
        "late": "more than 10 minutes late",
        "another phase": "changed after it was scheduled",
        "no lead any more": "ada no longer has permission to start phases",
    }[reason] in start.outcome
    assert not tiny.runs.exists()


def test_scheduled_start_can_be_cancelled_and_scheduled_again(tiny: Rollout) -> None:
    start = schedule(tiny)
    its_time_has_come(start)
    runner.unschedule(tiny, actor=Person("grace"))
    assert scheduled_starts.start_due() == 0
    with pytest.raises(Refused, match="there is nothing to cancel"):
        runner.unschedule(tiny, actor=ADA)
    assert schedule(tiny).state == ScheduleState.WAITING


def test_two_requests_are_one_start(tiny: Rollout) -> None:
    at = timezone.now() + HOUR
    assert schedule(tiny, at) == schedule(tiny, at)
    assert LogEntry.objects.filter(event="start scheduled").count() == 1
    with pytest.raises(Refused, match=r"ada has scheduled phase 0 for .* CET. Cancel that first"):
        schedule(tiny, at + HOUR)


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
