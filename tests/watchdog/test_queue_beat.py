"""The watchdog's beat through the queue."""

import pytest

from rollout.journal import heartbeats
from rollout.models import (
    Rollout,
)
from rollout.watchdog.loop import Watchdog
from tests.support import rollouts

pytestmark = pytest.mark.usefixtures("each_kind_of_process_has_its_own_name")


def test_the_beat_goes_through_the_queue_and_shows_that_a_worker_lives(tiny: Rollout) -> None:
    Watchdog().look()
    assert not heartbeats.liveness().worker_alive
    rollouts.work()
    assert heartbeats.liveness().worker_alive
