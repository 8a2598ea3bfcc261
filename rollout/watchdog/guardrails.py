"""Evaluates a plan's guardrails, and begins or ends the action of each."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone

from rollout import gates
from rollout.journal import activity_log, actors, rollouts
from rollout.journal.environments import protected
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.transitions import move, paused_by
from rollout.models import (
    Direction,
    PhaseRun,
    Rollout,
    RuleState,
    RuleVerdict,
    RunState,
)
from rollout.plan import plans
from rollout.plan.guardrails import Guardrail
from rollout.plan.plan import CONTRACT
from rollout.plan.registry import UnknownPlan
from rollout.runner import phases
from rollout.telemetry.baselines import baseline_of, keep_baseline
from rollout.watchdog.evaluations import Evaluation, evaluation_of
from rollout.watchdog.isolation import isolated

# Errors in a row after which the activity log says once that a guardrail cannot be evaluated.
ERRORS_BEFORE_ENTRY = 3

_log = logging.getLogger(__name__)


def evaluate_all() -> None:
    """Evaluate the guardrails of every protected rollout."""
    now = timezone.now()
    for rollout in Rollout.objects.filter(environment__in=protected()):
        with isolated(f"Guardrails of {rollout}"):
            evaluate(rollout, now=now)


def evaluate(rollout: Rollout, *, now: datetime) -> None:
    """Evaluate the guardrails of a rollout.

    They apply from the first phase's start until the last phase is done, and only in a protected
    environment: the others have no application.
    """
    try:
        rules = plans.get(rollout.plan).all_guardrails
    except UnknownPlan:
        return
    run = PhaseRun.objects.filter(rollout=rollout).first()
    if run is None:
        return
    # A repair is compared with what the page compares with: the time before the phase.
    phase_run = PhaseRun.objects.filter(rollout=rollout).exclude(direction=Direction.REPAIR).first()
    compared = phase_run or run
    # The last run's too: pages go on comparing with it.
    keep_baseline(compared)
    if _is_over(rollout, run):
        return
    baseline = baseline_of(compared)
    known = {state.rule: state for state in RuleState.objects.filter(rollout=rollout)}
    _notice_resumption(known.values(), now)
    changed = []
    for rule in rules:
        state = known.get(rule.id) or RuleState(rollout=rollout, rule=rule.id, since=now)
        try:
            evaluation = evaluation_of(rule, state, run, now, baseline)
        except DatabaseError:
            raise
        except Exception as error:
            _log.exception("Guardrail %s of %s could not be evaluated", rule.id, rollout)
            evaluation = Evaluation(RuleVerdict.ERROR, f"Evaluation failed: {error}")
        _apply(rule, state, evaluation, run, now)
        changed.append(state)
    RuleState.objects.filter(rollout=rollout).exclude(rule__in=[r.id for r in rules]).delete()
    _save(changed)


def _is_over(rollout: Rollout, run: PhaseRun) -> bool:
    return not run.active and gates.is_done(gates.newest_runs(rollout).get(CONTRACT))


def _save(states: Sequence[RuleState]) -> None:
    """In one statement: guardrails are evaluated every few seconds."""
    identity = ("rollout", "rule")
    fields = [field.name for field in RuleState._meta.concrete_fields if not field.primary_key]
    RuleState.objects.bulk_create(
        states,
        update_conflicts=True,
        unique_fields=identity,
        update_fields=[name for name in fields if name not in identity],
    )


def _notice_resumption(states: Collection[RuleState], now: datetime) -> None:
    """Resuming a run that a guardrail paused starts the windows of all such guardrails afresh."""
    pausing = [state for state in states if state.action == "pause"]
    over = [state for state in pausing if state.acting and not _is_paused(state.run)]
    for state in over:
        state.acting, state.run = False, None
    if over:
        for state in pausing:
            state.counts_from = now


def _is_paused(run: PhaseRun | None) -> bool:
    return run is not None and run.state in (RunState.PAUSING, RunState.PAUSED)


def _apply(
    rule: Guardrail, state: RuleState, evaluation: Evaluation, run: PhaseRun, now: datetime
) -> None:
    """Update the guardrail's state, and begin or end its action."""
    if state.verdict != evaluation.verdict:
        state.since = now
    if evaluation.verdict == RuleVerdict.BROKEN:
        state.last_broken_at = _broken_at(rule, evaluation, state.last_broken_at)
    state.errors = state.errors + 1 if evaluation.verdict == RuleVerdict.ERROR else 0
    state.action, state.verdict, state.judged_at = rule.action, evaluation.verdict, now
    state.message, state.value, state.baseline = (
        evaluation.message,
        evaluation.value,
        evaluation.baseline,
    )
    state.bound, state.calls = evaluation.bound, evaluation.calls
    state.windows = [asdict(window) for window in evaluation.windows]
    if state.errors == ERRORS_BEFORE_ENTRY:
        _record(Event.RULE_NOT_JUDGED, rule, state, run, evaluation.message)
    if evaluation.verdict == RuleVerdict.BROKEN and not state.acting:
        _begin(rule, state, run)
    elif evaluation.verdict == RuleVerdict.KEPT and state.acting:
        _end(rule, state, run)


def _broken_at(rule: Guardrail, evaluation: Evaluation, known: datetime | None) -> datetime:
    """When it was last breached: the end of the newest window above the limit.

    A guardrail stays breached for as long as windows of before count; no soak begins again by that.
    """
    breaching = [window.at for window in evaluation.windows if window.verdict == "broken"]
    if breaching:
        return datetime.fromisoformat(breaching[-1]) + timedelta(seconds=rule.seconds)
    return known if evaluation.windows and known else by_the_database()


def _begin(rule: Guardrail, state: RuleState, run: PhaseRun) -> None:
    if rule.action == "pause":
        state.acting = _pause(rule, state, run)
        return
    state.acting = True
    event, what = {
        "warn": (Event.RULE_BROKEN, "is breached"),
        "throttle": (Event.THROTTLED_BY_RULE, "throttles backfills"),
        "hold": (Event.HELD_BY_RULE, "blocks the next phase"),
    }[rule.action]
    _record(event, rule, state, run, f"Guardrail “{rule.id}” {what}. {state.message}")


def _pause(rule: Guardrail, state: RuleState, run: PhaseRun) -> bool:
    """Whether there was something to pause. A rollback is not paused: it may be the remedy."""
    if run.state not in (RunState.QUEUED, RunState.RUNNING):
        return False
    with rollouts.alone_with(run.rollout):
        run.refresh_from_db()
        if run.direction == Direction.BACKWARD:
            return False
        waits = run.state == RunState.QUEUED
        pause = paused_by(RuleActor(rule).get_username(), rule=rule.id, message=state.message)
        if not (waits and move(run, RunState.PAUSED, pause=pause)) and not move(
            run, RunState.PAUSING, pause=pause
        ):
            return False
        state.run = run
        _record(
            Event.PAUSED_BY_RULE,
            rule,
            state,
            run,
            f"Guardrail “{rule.id}” paused {run.name}. {state.message}",
        )
    return True


def _end(rule: Guardrail, state: RuleState, run: PhaseRun) -> None:
    """Once OK again, warnings and throttles end, other actions only if the rule resumes."""
    if rule.action in ("pause", "hold") and not rule.resumes:
        return
    if rule.action == "pause" and not _resume(rule, state):
        return
    state.acting, state.run = False, None
    if rule.action != "pause":
        message = f"Guardrail “{rule.id}” is OK again. {state.message}"
        _record(Event.RULE_KEPT_AGAIN, rule, state, run, message)


def _resume(rule: Guardrail, state: RuleState) -> bool:
    """Whether the paused run was resumed, or stays paused by another guardrail."""
    run = state.run
    if run is None or run.state != RunState.PAUSED:
        return False
    others = RuleState.objects.filter(rollout=run.rollout, run=run, acting=True)
    if others.exclude(rule=rule.id).exists():
        return True
    try:
        phases.resume(run.rollout, actor=RuleActor(rule), source="watchdog")
    except actors.Refused:
        return False
    return True


@dataclass(frozen=True)
class RuleActor:
    """The actor in the log when a guardrail acts."""

    rule: Guardrail

    def get_username(self) -> str:
        return f"guardrail {self.rule.id}"


def _record(event: Event, rule: Guardrail, state: RuleState, run: PhaseRun, message: str) -> None:
    activity_log.record(
        event,
        message,
        on=run,
        actor=RuleActor(rule),
        source="watchdog",
        rule=rule.id,
        sentence=rule.sentence,
        value=state.value,
        baseline=state.baseline,
        bound=state.bound,
        calls=state.calls,
        windows=state.windows,
    )
