"""Lost work comes back, and only lost work."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import queue, runner
from rollout.models import (
    AuditReport,
    Environment,
    LogEntry,
    Rehearsal,
    Restore,
    Rollout,
    RunState,
    Snapshot,
)
from rollout.watchdog import lost_work
from rollout.watchdog.loop import Watchdog
from rollout.worker.audits import AuditJob
from rollout.worker.kinds import KINDS
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.watchdog.lost_runs import LONG_AGO, a_worker_lives, lost_run, runs_queued, time_passes

pytestmark = pytest.mark.usefixtures("each_kind_of_process_has_its_own_name")


def test_a_run_whose_lease_ran_out_is_brought_back_with_a_new_token(tiny: Rollout) -> None:
    run = lost_run(tiny)
    a_worker_lives()
    Watchdog().look()
    assert runs_queued() == [(run.pk, 2)]
    entry = LogEntry.objects.get(event="brought back")
    assert entry.actor == entry.source == "watchdog"
    assert "host:1 was unresponsive for 10 s" in entry.message
    rollouts.work_off(run)


def test_a_run_that_was_queued_and_lost_with_the_queue_is_queued_again(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.lose_the_queue()
    time_passes(run)
    a_worker_lives()
    Watchdog().look()
    assert runs_queued() == [(run.pk, 1)]


def test_a_run_whose_worker_lives_is_left_alone(tiny: Rollout) -> None:
    run = lost_run(tiny)
    time_passes(run, by=-timedelta(seconds=5))
    a_worker_lives()
    Watchdog().look()
    assert runs_queued() == []


@pytest.mark.parametrize("state", ["paused", "done", "failed", "cancelled"])
def test_a_run_that_nobody_works_on_is_left_alone(tiny: Rollout, state: str) -> None:
    lost_run(tiny, RunState(state))
    a_worker_lives()
    Watchdog().look()
    assert runs_queued() == []


def test_nothing_piles_up_in_the_queue_while_no_worker_lives(tiny: Rollout) -> None:
    run = lost_run(tiny)
    watchdog = Watchdog()
    for _ in range(5):
        watchdog.look()
    assert runs_queued() == []
    assert [m.task for m in rollouts.queued()] == ["rollout.tasks.beat"]
    rollouts.work()
    watchdog.look()
    assert runs_queued() == [(run.pk, 2)]


def test_an_audit_whose_worker_died_is_made_by_another(tiny: Rollout) -> None:
    report = runner.start_audit(tiny, actor=ADA)
    rollouts.lose_the_queue()
    time_passes(report)
    a_worker_lives()
    Watchdog().look()
    rollouts.work()
    report.refresh_from_db()
    assert report.status != "running"


def test_lost_work_of_every_kind_is_reported_in_the_log(tiny: Rollout) -> None:
    lost = {"worker": "gone:1", "lease_until": timezone.now() - LONG_AGO, "rollout": tiny}
    report = AuditReport.objects.create(started_at=timezone.now(), **lost)
    snapshot = Snapshot.objects.create(**lost)
    restore = Restore.objects.create(snapshot=snapshot, **lost)
    made = Environment.objects.create(name="stage", database="stage", snapshot=snapshot)
    rehearsal = Rehearsal.objects.create(
        snapshot=snapshot, environment=made, sandbox=tiny, first_phase=0, **lost
    )
    for kind in KINDS:
        lost_work.bring_back(kind)
    entries = LogEntry.objects.filter(event="brought back").order_by("pk")
    assert [entry.message.partition(" moves to")[0] for entry in entries] == [
        f"Audit {report.pk}",
        f"Snapshot {snapshot.pk}",
        f"Restore {restore.pk}",
        f"Rehearsal {rehearsal.pk}",
    ]
    assert all("gone:1 was unresponsive for 10 s" in entry.message for entry in entries)


def test_work_that_cannot_be_brought_back_keeps_no_other_from_it(
    tiny: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        AuditReport.objects.create(
            rollout=tiny, started_at=timezone.now(), lease_until=timezone.now() - LONG_AGO
        )
        for _ in range(2)
    )
    send_work = queue.send_work

    def refuses(report: AuditReport) -> None:
        if report == first:
            raise ValueError("broken")
        send_work(report)

    monkeypatch.setattr(queue, "send_work", refuses)
    lost_work.bring_back(AuditJob)
    assert [m.arguments for m in rollouts.queued()] == [(second.pk, 1)]
