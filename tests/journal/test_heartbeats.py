"""Whether workers and watchdog are at work is seen by what they do."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout.journal import heartbeats
from rollout.journal.heartbeats import SILENCE, WATCHDOG, WORKER, last_seen, liveness
from rollout.journal.moments import in_words
from rollout.models import Heartbeat
from tests.support import rollouts
from tests.support.processes import Running, wait_until
from tests.support.servers import Database


def seen(kind: str, ago: timedelta = timedelta(), *, name: str = "") -> None:
    Heartbeat.objects.create(name=name or f"host:{kind}", kind=kind, seen_at=timezone.now() - ago)


@pytest.mark.django_db
class TestLiveness:
    def test_both_messages_name_the_command_before_any_heartbeat(self) -> None:
        state = liveness()
        assert not state.worker_alive
        assert not state.watchdog_alive
        assert "No worker online (never seen)" in state.message
        assert "manage.py qcluster" in state.message
        assert "manage.py rollout watchdog" in state.message

    def test_process_seen_just_now_is_alive(self) -> None:
        seen(WORKER)
        seen(WATCHDOG)
        assert (liveness().worker_alive, liveness().watchdog_alive) == (True, True)
        assert liveness().message == ""

    def test_a_silence_shorter_than_the_limit_is_no_death(self) -> None:
        seen(WATCHDOG)
        seen(WORKER, SILENCE - timedelta(seconds=2))
        assert liveness().worker_alive

    def test_a_worker_that_was_silent_for_twelve_seconds_is_reported_not_to_run(self) -> None:
        seen(WATCHDOG)
        seen(WORKER, timedelta(seconds=12))
        state = liveness()
        assert not state.worker_alive
        seen_at = last_seen(WORKER)
        assert seen_at is not None
        assert state.message == (
            f"No worker online (last seen {in_words(seen_at)}): queued work waits "
            "until one starts. Start it: manage.py qcluster."
        )

    def test_a_silent_watchdog_is_distinguished_from_a_silent_worker(self) -> None:
        seen(WORKER)
        seen(WATCHDOG, SILENCE)
        state = liveness()
        assert (state.worker_alive, state.watchdog_alive) == (True, False)
        assert "manage.py rollout watchdog" in state.message
        assert "qcluster" not in state.message

    def test_the_worker_seen_last_counts(self) -> None:
        seen(WATCHDOG)
        seen(WORKER, 10 * SILENCE, name="host:1")
        seen(WORKER, name="host:2")
        seen(WORKER, 20 * SILENCE, name="host:3")
        assert liveness().worker_alive

    def test_a_process_has_one_row_however_often_it_beats(self) -> None:
        for _ in range(3):
            heartbeats.beat(WORKER)
        assert Heartbeat.objects.get().name == heartbeats.process_name()

    def test_processes_long_gone_are_forgotten(self) -> None:
        seen(WORKER, timedelta(days=2), name="host:1")
        seen(WORKER, timedelta(hours=2), name="host:2")
        heartbeats.delete_old()
        assert Heartbeat.objects.get().name == "host:2"

    def test_liveness_is_one_query_whatever_there_is(self, django_assert_num_queries: Any) -> None:
        for number in range(50):
            seen(WORKER, name=f"host:{number}")
        with django_assert_num_queries(1):
            liveness()


@pytest.mark.xdist_group("processes")
def test_a_cluster_that_was_killed_is_noticed_within_fifteen_seconds(
    committed_db: Database, qcluster: Running, watchdog: Running
) -> None:
    wait_until(lambda: liveness().message == "")
    before = rollouts.ask("SELECT max(seen_at) FROM rollout_heartbeat WHERE kind = 'worker'")
    for process in qcluster.session():
        process.kill()
    killed_at = timezone.now()
    # Noticed once the last sign of life is so long ago; on a busy machine this test looks later.
    assert timedelta(seconds=15) > SILENCE
    wait_until(lambda: not liveness().worker_alive)
    last = last_seen(WORKER)
    assert last is not None
    assert before <= last <= killed_at
    assert "Start it: manage.py qcluster." in liveness().message
    assert liveness().watchdog_alive
