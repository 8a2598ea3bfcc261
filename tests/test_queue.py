"""Messages that workers leave behind: void when they are late, and removed once nobody has them."""

from datetime import timedelta
from threading import Event, Thread

import pytest
from django.db import connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ

from rollout import queue, tasks
from rollout.models import BackfillEstimate, FlowProbe, LogEntry
from tests.support import rollouts
from tests.support.processes import PATIENCE, Running, wait_until
from tests.support.servers import Database

WITHOUT_TOKEN = {"probe", "estimate", "refresh_view", "retry_quarantined"}


def at(seconds: float) -> str:
    return (timezone.now() + timedelta(seconds=seconds)).isoformat()


def test_a_late_message_without_a_token_does_nothing(committed_db: Database) -> None:
    rollout = rollouts.the_rollout()
    estimate = BackfillEstimate.objects.create(
        rollout=rollout, phase=2, step="backfill", position=0, table="properties", actor_name="ada"
    )
    tasks.probe(rollout.pk, at(-1))
    tasks.estimate(estimate.pk, at(-1))
    tasks.refresh_view(rollout.pk, "no-such-step", at(-1))
    tasks.retry_quarantined(0, "ada", at(-1))
    estimate.refresh_from_db()
    assert (FlowProbe.objects.count(), LogEntry.objects.count()) == (0, 0)
    assert estimate.finished_at is None
    tasks.probe(rollout.pk, at(60))
    assert FlowProbe.objects.exists()


@pytest.mark.parametrize("task", sorted(WITHOUT_TOKEN))
def test_a_message_says_until_when_it_holds(committed_db: Database, task: str) -> None:
    queue.send_while_fresh(task, 1)
    (message,) = OrmQ.objects.all()
    named, until = message.task["args"]
    assert (message.task["func"], named) == (f"rollout.tasks.{task}", 1)
    assert at(0) < until <= at(queue.FRESH_FOR.total_seconds())


def test_a_message_whose_worker_died_is_removed_before_it_comes_back(
    committed_db: Database,
) -> None:
    key, now = get_broker().list_key, timezone.now()
    kept_for, longest = timedelta(seconds=Conf.RETRY), timedelta(seconds=Conf.TIMEOUT)

    def message(lock: timedelta) -> OrmQ:
        return OrmQ.objects.create(key=key, payload="", lock=now + lock)

    waiting = message(timedelta(0))
    at_work = message(kept_for - longest)
    lost = message(kept_for - longest - 2 * queue.MARGIN)
    another = OrmQ.objects.create(key="another", payload="", lock=lost.lock)
    assert queue.forget_lost() == 1
    assert set(OrmQ.objects.values_list("pk", flat=True)) == {waiting.pk, at_work.pk, another.pk}


def test_a_fresh_message_reaches_a_worker_and_a_late_one_is_logged(
    committed_db: Database, qcluster: Running
) -> None:
    rollout = rollouts.the_rollout()
    queue.send("probe", rollout.pk, at(-1))
    queue.send_while_fresh("probe", rollout.pk)
    wait_until(FlowProbe.objects.exists, seen=qcluster.output)
    wait_until(lambda: not OrmQ.objects.exists(), seen=qcluster.output)
    assert f"probe({rollout.pk},) was requested too long ago" in qcluster.output()


def test_a_worker_that_waits_is_told_of_a_message_also_after_its_connection_broke(
    committed_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LOOK_EVERY_SECONDS", 3600)
    looked, broken, end = Event(), Event(), Event()
    pids: list[int] = []
    fetched: list[int] = []

    def wait_for_messages() -> None:
        broker = get_broker()
        assert broker.dequeue() is None
        pids.append(connection.connection.info.backend_pid)
        looked.set()
        while len(fetched) < 2 and not end.is_set():
            fetched.extend(number for number, _ in broker.dequeue() or ())
            if broker._listening.info.backend_pid not in pids:
                broken.set()
        connection.close()

    waiting = Thread(target=wait_for_messages)
    waiting.start()
    try:
        assert looked.wait(PATIENCE)
        queue.send("beat")
        wait_until(lambda: len(fetched) == 1)
        assert rollouts.ask("SELECT pg_terminate_backend(%s, 5000)", pids[0])
        assert broken.wait(PATIENCE)
        queue.send("beat")
        wait_until(lambda: len(fetched) == 2)
    finally:
        end.set()
        waiting.join()
