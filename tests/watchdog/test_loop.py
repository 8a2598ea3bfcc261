"""Of several watchdogs one acts, whatever breaks beside it."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import Error, connection
from django_q.conf import Conf

from rollout import runner
from rollout.journal.heartbeats import WATCHDOG
from rollout.models import (
    Heartbeat,
    Rollout,
    RunState,
)
from rollout.watchdog.duties import Duty
from rollout.watchdog.loop import Watchdog
from tests.support import rollouts
from tests.support.processes import PATIENCE, free_port, wait_until
from tests.support.rollouts import ADA
from tests.watchdog.lost_runs import a_worker_lives, lost_run, runs_queued, time_passes

pytestmark = pytest.mark.usefixtures("each_kind_of_process_has_its_own_name")


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
