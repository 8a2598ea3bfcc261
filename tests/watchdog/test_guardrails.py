"""What a broken rule does to a rollout, and who lets it continue."""

from dataclasses import replace

import pytest

from rollout import runner
from rollout.models import (
    LogEntry,
    PhaseRun,
    Rollout,
    RuleState,
    RunState,
)
from rollout.plan.guardrails import ALWAYS
from rollout.telemetry.signals import application_signals
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.watchdog.guarded_phases import SLOW, Clock, follows, running


def test_guardrail_that_pauses_a_phase_is_the_actor_and_not_who_started_it(
    tiny: Rollout, clock: Clock
) -> None:
    follows(SLOW)
    runner.start(tiny, 0, actor=ADA)

    def becomes_slow() -> None:
        rollouts.flow.does = lambda: None
        clock.windows(5, ms=400)

    rollouts.flow.does = becomes_slow
    rollouts.work()
    entry = LogEntry.objects.get(event="paused")
    assert (entry.actor, entry.message) == ("guardrail slow", "Phase 0 is paused.")


def test_only_a_person_lets_it_continue_and_the_windows_begin_afresh(
    tiny: Rollout, clock: Clock
) -> None:
    follows(SLOW)
    run = running(tiny)
    clock.windows(3, ms=400)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.PAUSED)
    clock.windows(6, ms=10)
    assert rollouts.state_of(run) == RunState.PAUSED
    clock.windows(3, ms=400)
    runner.resume(tiny, actor=ADA)
    clock.windows(2, ms=400)
    assert rollouts.state_of(run) == RunState.QUEUED
    clock.windows(3, ms=400)
    assert rollouts.state_of(run) == RunState.PAUSED
    assert LogEntry.objects.filter(event="paused by rule").count() == 2


def test_a_rule_that_says_so_resumes_once_no_window_is_broken(tiny: Rollout, clock: Clock) -> None:
    follows(replace(SLOW, resumes=True))
    run = running(tiny)
    clock.windows(3, ms=400)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.PAUSED)
    clock.windows(4, ms=10)
    assert rollouts.state_of(run) == RunState.PAUSED
    clock.window(ms=10)
    assert rollouts.state_of(run) == RunState.QUEUED
    assert LogEntry.objects.get(event="resumed").actor == "guardrail slow"


def test_a_rule_never_resumes_what_a_person_paused(tiny: Rollout, clock: Clock) -> None:
    follows(replace(SLOW, resumes=True))
    run = running(tiny)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.PAUSED)
    clock.windows(5, ms=400)
    clock.windows(8, ms=10)
    assert rollouts.state_of(run) == RunState.PAUSED


def test_a_rollback_continues_however_slow_the_application_is(tiny: Rollout, clock: Clock) -> None:
    follows(SLOW)
    rollouts.carry_out(tiny, 0)
    run = runner.roll_back(tiny, 0, actor=ADA)
    clock.windows(5, ms=400)
    assert rollouts.state_of(run) == RunState.QUEUED


def test_a_warning_is_reported_once_and_ends_by_itself(tiny: Rollout, clock: Clock) -> None:
    follows(replace(SLOW, action="warn"))
    run = running(tiny)
    clock.windows(6, ms=400)
    assert LogEntry.objects.filter(event="rule broken").count() == 1
    clock.windows(6, ms=10)
    assert LogEntry.objects.filter(event="rule kept again").count() == 1
    assert rollouts.state_of(run) == RunState.RUNNING


def test_a_throttle_is_a_signal_that_backfills_heed_while_it_lasts(
    tiny: Rollout, clock: Clock
) -> None:
    follows(replace(SLOW, action="throttle"))
    run = running(tiny)
    clock.windows(3, ms=400)
    assert ("rule slow", "throttle") in [(s.name, s.status) for s in application_signals(run)]
    clock.windows(6, ms=10)
    assert "rule slow" not in [s.name for s in application_signals(run)]


def test_a_hold_keeps_the_next_phase_from_starting_until_a_person_releases_it(
    tiny: Rollout, clock: Clock
) -> None:
    follows(replace(SLOW, action="hold"))
    rollouts.carry_out(tiny, 0)
    clock.windows(3, ms=400)
    kept = "It is OK again. Release the hold"
    with pytest.raises(runner.Refused, match="Guardrail “slow” blocks the next phase") as broken:
        runner.start(tiny, 1, actor=ADA)
    assert kept not in str(broken.value)
    clock.windows(6, ms=10)
    with pytest.raises(runner.Refused, match=kept):
        runner.start(tiny, 1, actor=ADA)
    runner.release(tiny, "slow", actor=ADA)
    assert LogEntry.objects.get(event="hold released").actor == "ada"
    runner.start(tiny, 1, actor=ADA)
    with pytest.raises(runner.Refused, match="blocks no phase"):
        runner.release(tiny, "slow", actor=ADA)


def test_nobody_is_asked_to_release_a_hold_that_ends_automatically(
    tiny: Rollout, clock: Clock
) -> None:
    follows(replace(SLOW, action="hold", resumes=True))
    rollouts.carry_out(tiny, 0)
    clock.windows(3, ms=400)
    with pytest.raises(runner.Refused, match="ends automatically once") as refused:
        runner.start(tiny, 1, actor=ADA)
    assert "release" not in str(refused.value).lower()
    clock.windows(6, ms=10)
    runner.start(tiny, 1, actor=ADA)


def test_rules_that_left_the_plan_leave_the_page(tiny: Rollout, clock: Clock) -> None:
    follows(SLOW, replace(SLOW, id="other"))
    running(tiny)
    clock.window(ms=10)
    follows(SLOW)
    clock.window(ms=10)
    every_plan = {rule.id for rule in ALWAYS}
    assert {s.rule for s in RuleState.objects.all()} - every_plan == {"slow"}
