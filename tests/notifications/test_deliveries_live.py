"""A receiver that hangs and fails beside a rollout at work, with real worker and watchdog."""

import json
from collections.abc import Iterator

import pytest

from rollout.models import Delivery, RunState
from tests.support import rollouts
from tests.support.processes import Running, wait_until
from tests.support.receivers import Receiver, receiver
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture
def silent_chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver("hang") as there:
        monkeypatch.setenv("ROLLOUT_WEBHOOKS", json.dumps({"chat": {"URL": there.url}}))
        monkeypatch.setenv("ROLLOUT_WEBHOOKS_ALLOW_HTTP", "1")
        # One worker: what holds it up would hold the rollout up.
        monkeypatch.setenv("ROLLOUT_WORKERS", "1")
        yield there


def seen() -> str:
    return str(list(Delivery.objects.values_list("entry__event", "state", "attempts", "error")))


def test_a_receiver_that_hangs_holds_nothing_up_and_gets_all_of_it_in_the_end(
    silent_chat: Receiver, committed_db: Database, qcluster: Running, watchdog: Running
) -> None:
    rollouts.load_listings(100)
    rollout = rollouts.the_rollout()
    for phase in (0, 1):
        run = rollouts.start(rollout, phase)
        wait_until(lambda run=run: rollouts.state_of(run) == RunState.DONE, seen=seen)  # type: ignore[misc]
    wait_until(lambda: Delivery.objects.filter(error__startswith="No response within").exists())
    assert silent_chat.taken == []
    silent_chat.does = "refuse"
    # Time passes until it is tried again.
    rollouts.execute("UPDATE rollout_delivery SET due_at = now() WHERE state = 'waiting'")
    wait_until(lambda: Delivery.objects.filter(error="HTTP 500.").exists(), seen=seen)
    silent_chat.does = "take"
    rollouts.execute("UPDATE rollout_delivery SET due_at = now() WHERE state = 'waiting'")
    wait_until(lambda: len(silent_chat.taken) == 4, seen=seen)
    assert silent_chat.events == ["phase started", "phase done", "phase started", "phase done"]
    wait_until(lambda: not Delivery.objects.exclude(state="delivered").exists(), seen=seen)
