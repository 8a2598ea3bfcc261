"""Samples that the plan asks for: when, and how they stay honest together."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.journal.heartbeats import liveness_of
from rollout.models import AuditReport, Environment, EnvironmentState, PhaseRun, Rollout, Snapshot
from rollout.plan import plans
from rollout.watchdog import sampled_audits
from rollout.watchdog.duties import duties
from tests.support import rollouts


def test_a_sample_is_requested_once_in_each_interval_while_both_shapes_exist(
    filled: Rollout,
) -> None:
    assert sampled_audits.send_due() == 1
    report = AuditReport.objects.filter(rollout=filled, scheduled=True).get()
    # While it is under way no other is requested.
    assert sampled_audits.send_due() == 0
    rollouts.work()
    report.refresh_from_db()
    assert (report.status, report.mode, report.actor_name) == ("clean", "sampled", "schedule")
    assert sampled_audits.send_due() == 0
    AuditReport.objects.update(started_at=timezone.now() - timedelta(hours=1))
    assert sampled_audits.send_due() == 1


def test_each_sample_of_a_schedule_claims_less_so_that_all_hold_together(filled: Rollout) -> None:
    for _ in range(3):
        sampled_audits.send_due()
        rollouts.work()
        AuditReport.objects.update(started_at=timezone.now() - timedelta(hours=1))
    samples = AuditReport.objects.filter(scheduled=True).order_by("pk")
    risks = [1 - (report.confidence or 0) for report in samples]
    assert risks == [pytest.approx(0.05 / (n * (n + 1))) for n in (1, 2, 3)]
    assert all(0 < (report.upper_rate or 0) < 1 for report in samples)


def test_none_is_requested_before_phase_2_after_phase_3_or_without_an_interval(
    filled: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plans.get(filled.plan)
    monkeypatch.setattr(plans, "get", lambda name: replace(plan, sample_every=None))
    assert sampled_audits.send_due() == 0
    monkeypatch.undo()
    rollouts.carry_back(filled, 2)
    assert sampled_audits.send_due() == 0


def test_sample_is_due_an_interval_after_the_last_one_and_overdue_for_a_reason(
    filled: Rollout,
) -> None:
    first = sampled_audits.next_sample(filled)
    assert first is not None
    assert first.is_due, "none was made yet"
    sampled_audits.send_due()
    running = sampled_audits.next_sample(filled)
    assert running is not None
    report = AuditReport.objects.get(scheduled=True)
    assert (running.is_due, running.under_way) == (False, report.pk)
    assert running.due_at == report.started_at + running.every

    AuditReport.objects.filter(pk=report.pk).update(started_at=timezone.now() - timedelta(hours=1))
    late = sampled_audits.next_sample(filled)
    assert late is not None
    assert late.is_overdue
    now = timezone.now()
    assert "Start it: manage.py rollout watchdog" in late.overdue_because(
        liveness_of(now, None, now)
    )
    alive = liveness_of(now, now, now)
    assert f"Audit {report.pk} is running" in late.overdue_because(alive)
    rollouts.work()
    AuditReport.objects.filter(pk=report.pk).update(started_at=timezone.now() - timedelta(hours=1))
    unexplained = sampled_audits.next_sample(filled)
    assert unexplained is not None
    assert "watchdog's log" in unexplained.overdue_because(alive)


def test_database_of_a_rehearsal_gets_no_samples(filled: Rollout) -> None:
    snapshot = Snapshot.objects.create(rollout=filled)
    there = {"name": "rehearsal-1", "plan": filled.plan, "beside": "production"}
    Environment.objects.create(
        **there,
        purpose=Environment.Purpose.REHEARSAL,
        state=EnvironmentState.READY,
        snapshot=snapshot,
        database="none",
    )
    stage = Rollout.objects.create(plan=filled.plan, environment="rehearsal-1")
    for phase in range(3):
        PhaseRun.objects.create(rollout=stage, phase=phase, state="done")
    assert sampled_audits.next_sample(stage) is None
    Environment.objects.update(purpose=Environment.Purpose.STAGING)
    assert sampled_audits.next_sample(stage) is not None


def test_sample_that_a_watchdog_at_rest_asks_for_in_time_is_not_overdue() -> None:
    (duty,) = (duty for duty in duties() if duty.name == "sampled audits")
    assert 2 * duty.interval(at_rest=True) < sampled_audits.GRACE
