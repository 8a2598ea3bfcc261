"""Where nothing is under way the watchdog looks seldom, and at once again where something is."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from rollout import runner
from rollout.journal import heartbeats
from rollout.models import ChainState, RollbackChain, Rollout, ScheduledStart
from rollout.watchdog.duties import Duty, duties
from rollout.watchdog.loop import Watchdog
from rollout.watchdog.rests import LATELY, LOOK_SECONDS, LOOK_SECONDS_AT_REST, is_at_rest
from tests.console import journal
from tests.support.rollouts import ADA


def is_scheduled(rollout: Rollout, after: timedelta) -> None:
    ScheduledStart.objects.create(
        rollout=rollout, phase=0, at=timezone.now() + after, zone="UTC", phase_digest="0"
    )


def seconds_between_looks() -> float:
    return Watchdog(()).look()


def test_a_watchdog_rests_while_nothing_is_under_way(tiny: Rollout) -> None:
    is_scheduled(tiny, timedelta(hours=1))
    journal.measured(timezone.now() - LATELY, ms=5)
    journal.ran(tiny, 0, "paused")
    assert seconds_between_looks() == LOOK_SECONDS_AT_REST


def test_a_watchdog_asks_for_all_that_may_be_under_way_at_once(tiny: Rollout) -> None:
    assert journal.queries_of(is_at_rest) == 1


def test_work_that_is_queued_keeps_a_watchdog_awake(tiny: Rollout) -> None:
    runner.start(tiny, 0, actor=ADA)
    assert seconds_between_looks() == LOOK_SECONDS


def test_a_start_that_is_due_before_the_next_look_keeps_a_watchdog_awake(tiny: Rollout) -> None:
    is_scheduled(tiny, timedelta(seconds=LOOK_SECONDS_AT_REST))
    assert seconds_between_looks() == LOOK_SECONDS


def test_a_rollback_between_two_phases_keeps_a_watchdog_awake(tiny: Rollout) -> None:
    RollbackChain.objects.create(
        rollout=tiny, first_phase=1, to_phase=0, state=ChainState.RUNNING, actor_name="ada"
    )
    assert seconds_between_looks() == LOOK_SECONDS


def test_an_application_that_measures_keeps_the_guardrails_awake_alone(tiny: Rollout) -> None:
    carried_out: list[str] = []
    moment = 100.0
    second = timedelta(seconds=1)

    def duty(name: str, **rests: Any) -> Duty:
        return Duty(name, timedelta(0), partial(carried_out.append, name), **rests)

    watchdog = Watchdog(
        [
            duty("guardrails", at_rest=15 * second, reads_measurements=True),
            duty("statistics", at_rest=30 * second),
            duty("lost work", needs_work=True),
        ],
        clock=lambda: moment,
    )
    watchdog.look()
    assert carried_out == ["guardrails", "statistics"]
    moment += LOOK_SECONDS_AT_REST
    watchdog.look()
    assert carried_out == ["guardrails", "statistics"]
    journal.measured(timezone.now(), ms=5)
    assert watchdog.look() == LOOK_SECONDS
    assert carried_out == ["guardrails", "statistics", "guardrails"]
    runner.start(tiny, 0, actor=ADA)
    watchdog.look()
    assert carried_out[3:] == ["guardrails", "statistics", "lost work"]


def test_signs_of_life_come_twice_before_a_process_counts_as_gone() -> None:
    assert heartbeats.SILENCE.total_seconds() > 2 * LOOK_SECONDS_AT_REST
    every = {duty.name: duty.interval(at_rest=True).total_seconds() for duty in duties()}
    assert max(every["clock watch"], every["queue beat"]) <= LOOK_SECONDS_AT_REST
