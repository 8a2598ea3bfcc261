"""Leased work whose worker was slow, or died."""

import pytest

from rollout import runner
from rollout.models import (
    LogEntry,
    PhaseRun,
    Rollout,
    RunState,
)
from rollout.watchdog.loop import Watchdog
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.watchdog.lost_runs import a_worker_lives, lost_run, time_passes

pytestmark = pytest.mark.usefixtures("each_kind_of_process_has_its_own_name")


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
