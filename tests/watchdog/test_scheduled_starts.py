"""Starts at a time to come: made once, or told why not."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from rollout import runner
from rollout.models import LogEntry, PhaseRun, Rollout, RunState, ScheduledStart, ScheduleState
from rollout.queries import preflights
from rollout.runner import Refused, phases
from rollout.watchdog import scheduled_starts
from rollout.watchdog.clock_watch import ClockWatch
from rollout.watchdog.loop import Watchdog
from tests.support import rollouts
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA, Person, schedule
from tests.support.servers import Database
from tests.support.threads import at_once

HOUR = timedelta(hours=1)


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


def test_a_press_at_the_same_moment_makes_one_start(tiny: Rollout) -> None:
    start = schedule(tiny)
    its_time_has_come(start)

    def press() -> int:
        try:
            runner.start(tiny, 0, actor=Person("grace"))
        except Refused:
            return 0
        return 1

    assert at_once(scheduled_starts.start_due, press) in ([1, 0], [0, 1])
    start.refresh_from_db()
    run = tiny.runs.get()
    by_the_watchdog = ("ada", ScheduleState.STARTED)
    assert (run.actor_name, start.state) in (by_the_watchdog, ("grace", ScheduleState.CANCELLED))


@pytest.mark.parametrize("meanwhile", ["rollback", "another time", "cancelled"])
def test_people_who_act_while_the_watchdog_checks_a_phase_come_first(
    tiny: Rollout, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    rollouts.start(tiny, 0)
    runner.cancel(tiny, actor=ADA)
    start = schedule(tiny)
    its_time_has_come(start)
    check = preflights.preflight_of

    def act() -> None:
        if meanwhile == "rollback":
            runner.roll_back(tiny, 0, actor=Person("grace"))
            rollouts.work()
            return
        runner.unschedule(tiny, actor=Person("grace"))
        if meanwhile == "another time":
            schedule(tiny)

    acts = [act]

    def checks_slowly(rollout: Rollout, phase: int) -> object:
        while acts:
            at_once(acts.pop())
        return check(rollout, phase)

    monkeypatch.setattr(preflights, "preflight_of", checks_slowly)
    # The watchdog has read the start, and looks at the database for seconds.
    assert scheduled_starts.start_due() == 0
    start.refresh_from_db()
    assert start.state == ("waiting" if meanwhile == "another time" else "cancelled")
    assert not LogEntry.objects.filter(event="scheduled start refused").exists()
    newest = tiny.runs.latest("pk")
    expected = ("backward", "done") if meanwhile == "rollback" else ("forward", "cancelled")
    assert (newest.direction, newest.state) == expected


def test_a_watchdog_that_dies_before_it_is_made_leaves_it_to_the_next(
    tiny: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = schedule(tiny)
    its_time_has_come(start)

    def dies(*_: object, **_fields: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(phases, "_begin", dies)
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
