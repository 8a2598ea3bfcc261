"""Clocks that are wrong or set: those of the machines, and that of the database.

A machine's clock is moved by what Django calls the time; the database's by leases and signs of
life as it had written them down before it was set back, and by what a watchdog reads of it.
"""

import time
from collections.abc import Callable
from datetime import UTC, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from rollout import gates
from rollout.console.http import sessions
from rollout.gates.evidence import Evidence
from rollout.gates.overrides import void_reason
from rollout.journal import heartbeats
from rollout.journal.moments import by_the_database
from rollout.journal.transitions import move
from rollout.models import (
    Environment,
    FlowProbe,
    Heartbeat,
    LogEntry,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    SignOff,
    SignOffKind,
    SnapshotState,
    WatchedTime,
)
from rollout.plan.gates import (
    MaintenanceWindow,
    ProbesPassed,
    RehearsalPassed,
    SnapshotVerified,
    Soak,
)
from rollout.runner import snapshots
from rollout.watchdog import lost_work
from rollout.watchdog.queue_beat import LOST_AFTER_SECONDS, QueueBeat
from rollout.worker import leases
from rollout.worker.restores import refusal_to_replace
from rollout.worker.runs import RunJob
from tests.support import rollouts
from tests.support.clocks import HOUR, answer, begun, verified_snapshot

Clock = Callable[[timedelta], None]


@pytest.fixture
def moved_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets this machine's clock so much ahead, or back."""
    now = timezone.now

    def set_ahead(by: timedelta) -> None:
        monkeypatch.setattr(timezone, "now", lambda: now() + by)
        monkeypatch.setattr(sessions, "time", Seconds(by))

    return set_ahead


class Seconds:
    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead.total_seconds()

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["back", "ahead"])
class TestAMachineWhoseClockIsWrong:
    def test_the_machine_keeps_its_lease(
        self, tiny: Rollout, moved_clock: Clock, ahead: timedelta
    ) -> None:
        moved_clock(ahead)
        run = begun(tiny)
        moved_clock(timedelta())
        lost_work.bring_back(RunJob)
        assert rollouts.queued() == []
        assert leases.is_leased(run)
        assert not LogEntry.objects.filter(event="brought back").exists()

    def test_the_machine_takes_nobody_elses_lease(
        self, tiny: Rollout, moved_clock: Clock, ahead: timedelta
    ) -> None:
        begun(tiny)
        moved_clock(ahead)
        lost_work.bring_back(RunJob)
        assert rollouts.queued() == []

    def test_the_worker_of_the_machine_counts_as_alive(
        self, db: None, moved_clock: Clock, ahead: timedelta
    ) -> None:
        moved_clock(ahead)
        heartbeats.beat(heartbeats.WORKER)
        moved_clock(timedelta())
        assert heartbeats.liveness().worker_alive
        moved_clock(ahead)
        assert heartbeats.liveness().worker_alive

    def test_the_watchdog_of_the_machine_continues_to_test_the_queue(
        self, tiny: Rollout, moved_clock: Clock, ahead: timedelta
    ) -> None:
        passed = [0.0]
        beat = QueueBeat(clock=lambda: passed[0])
        beat.send_due()
        moved_clock(ahead)
        passed[0] += LOST_AFTER_SECONDS
        rollouts.lose_the_queue()
        beat.send_due()
        assert [message.task for message in rollouts.queued()] == ["rollout.tasks.beat"]


class TestADatabaseWhoseClockWasSetBack:
    def test_work_whose_worker_died_before_it_comes_back(self, tiny: Rollout) -> None:
        run = begun(tiny)
        PhaseRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() + HOUR)
        assert not leases.is_leased(run)
        lost_work.bring_back(RunJob)
        assert [message.task for message in rollouts.queued()] == ["rollout.tasks.advance"]

    def test_a_worker_that_died_before_it_hides_nobody(self, db: None) -> None:
        Heartbeat.objects.create(name="dead:1", kind="worker", seen_at=timezone.now() + HOUR)
        assert not heartbeats.liveness().worker_alive
        heartbeats.beat(heartbeats.WORKER)
        assert heartbeats.liveness().worker_alive
        heartbeats.delete_old()
        assert not Heartbeat.objects.filter(name="dead:1").exists()


class TestWhatGatesSayOnAMachineWhoseClockIsWrong:
    """They go by the database's clock, which is one for all machines."""

    @pytest.mark.parametrize("ahead", [-5 * HOUR, 5 * HOUR], ids=["back", "ahead"])
    def test_gates_say_the_same_as_on_any_other_machine(
        self, rollout: Rollout, moved_clock: Clock, ahead: timedelta
    ) -> None:
        now = timezone.now()
        WatchedTime.objects.create(began_at=now - HOUR, ended_at=now)
        PhaseRun.objects.create(rollout=rollout, phase=0, state=RunState.DONE, finished_at=now)
        verified_snapshot(rollout, now - 2 * HOUR)
        evidence = Evidence(rollout, 1)
        approval = SignOff.objects.create(
            rollout=rollout,
            phase=1,
            kind=SignOffKind.APPROVAL,
            actor=User.objects.create_user("grace"),
            at=now,
            expires_at=now + 2 * HOUR,
            plan_digest=evidence.plan.digest,
            phase_digest=evidence.plan.digest_of(1),
        )
        opens, closes = (
            (now.astimezone(UTC) + by).time().replace(second=0, microsecond=0)
            for by in (-HOUR, HOUR)
        )
        moved_clock(ahead)
        assert answer(Soak(HOUR), rollout).startswith("Soaking: ")
        assert "is older than" in answer(SnapshotVerified(), rollout)
        assert void_reason(approval, Evidence(rollout, 1)) == ""
        window = MaintenanceWindow(opens=opens, closes=closes, zone="UTC")
        assert gates.check_gate(window, Evidence(rollout, 1)).status == "pass"

    def test_work_that_ends_there_ends_by_the_databases_clock(
        self, tiny: Rollout, moved_clock: Clock
    ) -> None:
        began = by_the_database()
        run = begun(tiny)
        moved_clock(-HOUR)
        assert move(run, RunState.DONE)
        assert run.finished_at is not None
        assert began <= run.finished_at <= by_the_database()


class TestWhatIsOfATimeToCome:
    """It was written down before the clock was set back: nobody knows how old it is."""

    AT = timezone.now() + HOUR

    def test_a_snapshot_is_not_fresh(self, rollout: Rollout) -> None:
        verified_snapshot(rollout, self.AT)
        assert "a clock was set back since. Take another" in answer(SnapshotVerified(), rollout)

    def test_production_is_not_replaced_on_the_strength_of_it(self, rollout: Rollout) -> None:
        restored = verified_snapshot(rollout, timezone.now())
        verified_snapshot(rollout, self.AT)
        restore = restored.restores.create(rollout=rollout)
        assert "Take one first" in refusal_to_replace(restore)

    def test_a_rehearsal_is_not_fresh(self, rollout: Rollout) -> None:
        snapshot = verified_snapshot(rollout, timezone.now() - 2 * HOUR)
        place = Environment.objects.create(
            name="rehearsal-1",
            plan=rollout.plan,
            beside="production",
            database="gone",
            snapshot=snapshot,
        )
        Rehearsal.objects.create(
            rollout=rollout,
            sandbox=rollout,
            environment=place,
            snapshot=snapshot,
            state=RehearsalState.PASSED,
            first_phase=0,
            plan_digest=Evidence(rollout, 1).plan.digest,
            finished_at=self.AT,
        )
        assert "a clock was set back since. Rehearse" in answer(RehearsalPassed(), rollout)

    def test_flows_must_be_tested_again(self, rollout: Rollout) -> None:
        for flow in Evidence(rollout, 1).plan.flows:
            FlowProbe.objects.create(rollout=rollout, flow=flow, passed=True, at=self.AT)
        assert "a clock was set back since. Run smoke tests" in answer(ProbesPassed(), rollout)

    def test_a_soak_says_why_it_lasts_longer(self, rollout: Rollout) -> None:
        PhaseRun.objects.create(rollout=rollout, phase=0, state=RunState.DONE, finished_at=self.AT)
        message = answer(Soak(timedelta(minutes=10)), rollout)
        assert "is in the future: the database's clock was set back. Ready at" in message

    def test_a_sign_off_does_not_count(self, rollout: Rollout) -> None:
        evidence = Evidence(rollout, 1)
        sign_off = SignOff.objects.create(
            rollout=rollout,
            phase=1,
            kind=SignOffKind.OVERRIDE,
            actor=User.objects.create_user("grace"),
            at=self.AT,
            plan_digest=evidence.plan.digest,
            phase_digest=evidence.plan.digest_of(1),
        )
        assert "a clock was set back since" in void_reason(sign_off, evidence)


def test_a_machine_whose_clock_is_far_ahead_deletes_no_snapshot(
    rollout: Rollout, moved_clock: Clock
) -> None:
    snapshot = verified_snapshot(rollout, timezone.now())
    moved_clock(timedelta(days=100))
    snapshots.remove_expired()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.VERIFIED


class TestASession:
    @pytest.fixture
    def superuser_browser(self, db: None) -> Client:
        browser = Client()
        browser.force_login(User.objects.create_superuser("ada"))
        return browser

    def test_a_session_ends_when_the_clock_is_set_back_behind_its_login(
        self, superuser_browser: Client, moved_clock: Clock
    ) -> None:
        assert superuser_browser.get("/rollout/").status_code == 200
        moved_clock(-HOUR)
        assert superuser_browser.get("/rollout/").status_code == 302

    def test_a_password_that_is_still_to_be_given_confirms_nothing(
        self, superuser_browser: Client, moved_clock: Clock
    ) -> None:
        session = superuser_browser.session
        session[sessions.CONFIRMED] = time.time() + HOUR.total_seconds()
        session.save()
        page = superuser_browser.get("/rollout/property-classification/production/snapshots/")
        request = page.wsgi_request
        assert not sessions.is_confirmed(request)
