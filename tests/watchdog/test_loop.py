"""Lost work comes back, and only lost work; of several watchdogs one acts."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import Error, connection
from django.utils import timezone
from django_q.conf import Conf

from rollout import queue, runner
from rollout.journal import heartbeats
from rollout.journal.heartbeats import WATCHDOG, WORKER
from rollout.models import (
    AuditReport,
    Environment,
    Heartbeat,
    LogEntry,
    PhaseRun,
    Rehearsal,
    Restore,
    Rollout,
    RunState,
    Snapshot,
)
from rollout.watchdog import lost_work
from rollout.watchdog.duties import Duty
from rollout.watchdog.loop import Watchdog
from rollout.worker.audits import AuditJob
from rollout.worker.kinds import KINDS
from tests.support import rollouts
from tests.support.processes import PATIENCE, free_port, wait_until
from tests.support.rollouts import ADA

LONG_AGO = timedelta(seconds=11)


@pytest.fixture(autouse=True)
def each_kind_of_process_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one process is worker and watchdog."""
    beat = heartbeats.beat

    def named_beat(kind: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeats, "process_name", lambda: f"host:{kind}")
            beat(kind)

    monkeypatch.setattr(heartbeats, "beat", named_beat)


def a_worker_lives() -> None:
    heartbeats.beat(WORKER)


def time_passes(run: PhaseRun | AuditReport, by: timedelta = LONG_AGO) -> None:
    """As though nothing had been heard of its worker for that long."""
    type(run)._default_manager.filter(pk=run.pk).update(lease_until=timezone.now() - by)


def lost_run(rollout: Rollout, state: RunState = RunState.RUNNING) -> PhaseRun:
    """A run whose worker took it and died."""
    run = runner.start(rollout, 0, actor=ADA)
    rollouts.lose_the_queue()
    PhaseRun.objects.filter(pk=run.pk).update(state=state, token=1, worker="host:1")
    time_passes(run)
    return run


def runs_queued() -> list[tuple[object, ...]]:
    return [m.arguments for m in rollouts.queued() if m.task == "rollout.tasks.advance"]


def test_a_run_whose_lease_ran_out_is_brought_back_with_a_new_token(tiny: Rollout) -> None:
    run = lost_run(tiny)
    a_worker_lives()
    Watchdog().look()
    assert runs_queued() == [(run.pk, 2)]
    entry = LogEntry.objects.get(event="brought back")
    assert entry.actor == entry.source == "watchdog"
    assert "host:1 was unresponsive for 10 s" in entry.message
    rollouts.work_off(run)


def test_a_worker_that_was_only_slow_finds_its_token_void(tiny: Rollout) -> None:
    def is_thought_dead() -> None:
        rollouts.flow.does = lambda: None
        time_passes(PhaseRun.objects.get())
        a_worker_lives()
        Watchdog().look()

    rollouts.flow.does = is_thought_dead
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.deliver_next()
    assert rollouts.state_of(run) == RunState.RUNNING
    rollouts.work_off(run)
    assert LogEntry.objects.filter(event="phase done").count() == 1


@pytest.mark.parametrize(
    ("state", "end"),
    [(RunState.PAUSING, RunState.PAUSED), (RunState.CANCELLING, RunState.CANCELLED)],
)
def test_a_run_that_was_asked_to_stop_stops_though_its_worker_died(
    tiny: Rollout, state: RunState, end: RunState
) -> None:
    run = lost_run(tiny, state)
    a_worker_lives()
    Watchdog().look()
    rollouts.work()
    assert rollouts.state_of(run) == end
    assert rollouts.flow.calls == 0


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


def test_the_beat_goes_through_the_queue_and_shows_that_a_worker_lives(tiny: Rollout) -> None:
    Watchdog().look()
    assert not heartbeats.liveness().worker_alive
    rollouts.work()
    assert heartbeats.liveness().worker_alive


def elsewhere(action: Callable[[], None]) -> threading.Thread:
    """Do something on another connection, as another process would."""

    def do() -> None:
        try:
            action()
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    return thread


def test_second_watchdog_takes_over_when_the_first_dies(tiny: Rollout) -> None:
    run = lost_run(tiny)
    a_worker_lives()
    end = threading.Event()
    leads = threading.Event()

    def lead() -> None:
        watchdog = Watchdog()
        if watchdog._leads():
            leads.set()
        end.wait(PATIENCE)

    leader = elsewhere(lead)
    assert leads.wait(PATIENCE)
    standby = Watchdog()
    standby.look()
    standby.look()
    assert rollouts.queued() == []
    assert Heartbeat.objects.filter(kind=WATCHDOG).exists()
    end.set()
    leader.join()

    def takes_over() -> bool:
        standby.look()
        return runs_queued() == [(run.pk, 2)]

    wait_until(takes_over)


def test_a_watchdog_outlives_a_connection_that_breaks(tiny: Rollout) -> None:
    run = lost_run(tiny)
    looks = 0

    def stop(_seconds: float) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            pid = connection.connection.info.backend_pid
            assert rollouts.ask("SELECT pg_terminate_backend(%s, 5000)", pid)
            return False
        if looks == 2:
            a_worker_lives()
        return looks == 3

    Watchdog().run(stop=stop)
    assert runs_queued() == [(run.pk, 2)]


def test_a_broker_that_is_away_fails_neither_a_press_nor_the_watchdog(tiny: Rollout) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conf, "BROKER_CLASS", None)
        patch.setattr(Conf, "ORM", None)
        patch.setattr(Conf, "REDIS", {"host": "127.0.0.1", "port": free_port()})
        run = runner.start(tiny, 0, actor=ADA)
        assert rollouts.state_of(run) == RunState.QUEUED
        a_worker_lives()
        Watchdog().look()
    # It is back, and empty.
    time_passes(run)
    Watchdog().look()
    rollouts.work_off(run)


def fails() -> None:
    raise ValueError("a number is none")


def test_duty_that_fails_is_logged_and_stops_no_other(
    tiny: Rollout, caplog: pytest.LogCaptureFixture
) -> None:
    carried_out: list[str] = []
    moment = 100.0
    watchdog = Watchdog(
        (
            Duty("broken", timedelta(0), fails),
            Duty("seldom", timedelta(seconds=10), lambda: carried_out.append("seldom")),
            Duty("queueing", timedelta(0), lambda: carried_out.append("queueing"), True),
        ),
        clock=lambda: moment,
    )
    watchdog.look()
    assert carried_out == ["seldom"], "no worker lives"
    a_worker_lives()
    watchdog.look()
    assert carried_out == ["seldom", "queueing"]
    moment += 10
    watchdog.look()
    assert carried_out == ["seldom", "queueing", "seldom", "queueing"]
    assert [record.getMessage() for record in caplog.records] == ["The duty “broken” failed"]
    assert "a number is none" in caplog.text


def test_duty_that_loses_the_connection_ends_the_look_as_it_leads_no_more(tiny: Rollout) -> None:
    carried_out: list[str] = []

    def loses_it() -> None:
        pid = connection.connection.info.backend_pid
        assert rollouts.ask("SELECT pg_terminate_backend(%s, 5000)", pid)
        Rollout.objects.count()

    watchdog = Watchdog(
        (
            Duty("unlucky", timedelta(0), loses_it),
            Duty("next", timedelta(0), lambda: carried_out.append("next")),
        )
    )
    with pytest.raises(Error):
        watchdog.look()
    connection.close()
    assert carried_out == []


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
