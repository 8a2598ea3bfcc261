"""Judges a plan's rules every few seconds, and does what a broken one says."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.db import DatabaseError, transaction
from django.utils import timezone

from rollout import gates, log
from rollout.environments import DEFAULT
from rollout.models import (
    AuditReport,
    AuditStatus,
    PhaseRun,
    Rollout,
    RuleState,
    RuleVerdict,
    RunState,
    Way,
)
from rollout.plan import plans
from rollout.plan.registry import UnknownPlan
from rollout.plan.rules import COUNTED, Rule, WindowVerdict
from rollout.plan.step import CONTRACT
from rollout.runner import verbs
from rollout.runner.transitions import move
from rollout.telemetry import reading
from rollout.telemetry.reading import Figures, together
from rollout.telemetry.signal import BASELINE, FEWEST_CALLS

EVERY = timedelta(seconds=1)
SETTLED = timedelta(milliseconds=700)
"""So long after a window's end its processes have written what they measured in it."""
WRONG = ("wrong", "orphan")
"""Categories of a lookup value that is not the right one, as opposed to one that is missing."""
ERRORS_SAID = 3
"""A rule that could not be judged so often in a row is said so in the log, once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """One window of a rule."""

    at: str
    value: float | None
    calls: int
    verdict: WindowVerdict


@dataclass(frozen=True)
class Judged:
    """What a rule came to, and the numbers that it came to it by."""

    verdict: RuleVerdict
    message: str
    value: float | None = None
    usual: float | None = None
    bound: float | None = None
    calls: int = 0
    windows: Sequence[Window] = field(default_factory=tuple)


class Judge:
    """Belongs to the watchdog that leads."""

    def __init__(self) -> None:
        self._due = timezone.now()

    def judge_due(self) -> None:
        """Judge the rules of every rollout that is under way, if it is time."""
        now = timezone.now()
        if now < self._due:
            return
        self._due = now + EVERY
        for rollout in Rollout.objects.filter(environment=DEFAULT):
            judge(rollout, now=now)


def judge(rollout: Rollout, *, now: datetime) -> None:
    """Judge the rules of a rollout. Only production has an application, and only a rollout that
    was begun and has not come to its end has rules to keep."""
    try:
        rules = plans.get(rollout.plan).rules
    except UnknownPlan:
        return
    run = PhaseRun.objects.filter(rollout=rollout).first()
    if run is None or not rules or _is_over(rollout, run):
        return
    known = {state.rule: state for state in RuleState.objects.filter(rollout=rollout)}
    _heed_resumption(known.values(), now)
    changed = []
    for rule in rules:
        state = known.get(rule.id) or RuleState(rollout=rollout, rule=rule.id, since=now)
        try:
            judged = _judged(rule, state, run, now)
        except DatabaseError:
            raise
        except Exception as error:
            _log.exception("Rule %s of %s could not be judged", rule.id, rollout)
            judged = Judged(RuleVerdict.ERROR, f"It could not be judged: {error}")
        _follow(rule, state, judged, run, now)
        changed.append(state)
    RuleState.objects.filter(rollout=rollout).exclude(rule__in=[r.id for r in rules]).delete()
    _save(changed)


def release(
    rollout: Rollout, rule_id: str, *, actor: verbs.Actor, source: str = "web"
) -> RuleState:
    """Let the next phase start though a rule holds it. Raises Refused."""
    with transaction.atomic():
        state = (
            RuleState.objects.select_for_update()
            .filter(rollout=rollout, rule=rule_id, action="hold", acting=True)
            .first()
        )
        if state is None:
            raise verbs.Refused("That rule holds nothing: there is nothing to release.")
        state.acting, state.counts_from = False, timezone.now()
        state.save(update_fields=["acting", "counts_from"])
        log.record(
            "hold released",
            f"Released what rule “{rule_id}” held. {state.message}",
            actor=actor.get_username(),
            source=source,
            rollout=rollout,
            data={"rule": rule_id},
        )
    return state


def _is_over(rollout: Rollout, run: PhaseRun) -> bool:
    return not run.active and gates.is_done(gates.newest_runs(rollout).get(CONTRACT))


def _save(states: Sequence[RuleState]) -> None:
    for state in states:
        state.save(force_insert=state.pk is None)


# Judging


def _judged(rule: Rule, state: RuleState, run: PhaseRun, now: datetime) -> Judged:
    since = max(run.created_at, state.counts_from or run.created_at)
    if rule.statistic == "wrong_values":
        return _wrong_values(rule, run.rollout, since)
    windows = _windows(rule, now)
    if state.counts_from is not None:
        windows = {at: found for at, found in windows.items() if at >= state.counts_from}
    if rule.statistic == "consecutive_errors":
        return _in_a_row(rule, windows)
    before = _of(rule, _baseline(run.created_at))
    usual = _value(rule, before) if before.calls >= FEWEST_CALLS else None
    return _by_windows(rule, windows, usual, acting=state.acting)


def _windows(rule: Rule, now: datetime) -> dict[datetime, Figures]:
    """The figures of the last windows by their beginnings; windows lie on whole seconds."""
    number = int((now - SETTLED).timestamp()) // rule.seconds
    until = datetime.fromtimestamp(number * rule.seconds, UTC)
    found = reading.windows(until, seconds=rule.seconds, number=rule.windows)
    first = until - timedelta(seconds=rule.seconds * rule.windows)
    return {
        first + timedelta(seconds=rule.seconds * n): _of(rule, by_operation)
        for n, by_operation in enumerate(found)
    }


@lru_cache(maxsize=16)
def _baseline(since: datetime) -> dict[str, Figures]:
    return reading.figures(since - BASELINE, since)


def _of(rule: Rule, by_operation: Mapping[str, Figures]) -> Figures:
    if rule.operation:
        return by_operation.get(rule.operation, Figures())
    return together(by_operation.values())


def _value(rule: Rule, found: Figures) -> float | None:
    if not found.calls:
        return None
    value: float | None = getattr(found, rule.statistic)
    return value


def _by_windows(
    rule: Rule, windows: Mapping[datetime, Figures], usual: float | None, *, acting: bool
) -> Judged:
    seen = []
    for at, found in windows.items():
        value = _value(rule, found)
        verdict = rule.verdict(value, calls=found.calls, usual=usual)
        seen.append(Window(at.isoformat(), value, found.calls, verdict))
    verdict = rule.together([one.verdict for one in seen], acting=acting)
    all_of_it = together(windows.values())
    value, bound = _value(rule, all_of_it), rule.bound(usual)
    return Judged(
        RuleVerdict(verdict),
        _sentence(rule, verdict, seen, value, usual, bound),
        value,
        usual,
        bound,
        all_of_it.calls,
        seen,
    )


def _sentence(
    rule: Rule,
    verdict: str,
    seen: Sequence[Window],
    value: float | None,
    usual: float | None,
    bound: float | None,
) -> str:
    calls = sum(window.calls for window in seen)
    if value is None:
        return "No calls were measured."
    name = "The share of failing calls" if rule.is_share else f"The {rule.statistic}"
    of = f" of {rule.operation}" if rule.operation else ""
    against = "" if usual is None else f"; before the phase it was {shown(rule, usual)}"
    if bound is None:
        return (
            f"{name}{of} is {shown(rule, value)} over {calls:,} calls; too little was measured "
            "before the phase to compare it with."
        )
    broken = sum(window.verdict == "broken" for window in seen)
    few = sum(window.verdict == "inconclusive" for window in seen)
    too_few = f", {few} with too few calls" if few else ""
    return (
        f"{name}{of} is {shown(rule, value)} over {calls:,} calls{against}. {broken} of "
        f"{len(seen)} windows are above {shown(rule, bound)}{too_few}."
    )


def shown(rule: Rule, value: float) -> str:
    """A value in the unit of a rule."""
    if rule.is_share:
        return f"{value:.1%}"
    return f"{value:,.0f}" if rule.statistic in COUNTED else f"{value:,.0f} ms"


def _in_a_row(rule: Rule, windows: Mapping[datetime, Figures]) -> Judged:
    """How many of the newest calls failed one after the other, as far as windows can tell."""
    most = math.inf if rule.at_most is None else rule.at_most
    failed = 0
    for found in reversed(list(windows.values())):
        if found.errors < found.calls:
            break
        failed += found.errors
    calls = sum(found.calls for found in windows.values())
    if not calls:
        return Judged(RuleVerdict.INCONCLUSIVE, "No calls were measured.", bound=rule.at_most)
    broken = failed > most
    return Judged(
        RuleVerdict.BROKEN if broken else RuleVerdict.KEPT,
        f"{failed:,} calls failed one after the other, and none succeeded."
        if failed
        else f"Of the last {calls:,} calls the newest ones succeeded.",
        value=float(failed),
        bound=rule.at_most,
        calls=calls,
    )


def _wrong_values(rule: Rule, rollout: Rollout, since: datetime) -> Judged:
    reports = AuditReport.objects.filter(rollout=rollout, finished_at__gt=since).exclude(
        status__in=(AuditStatus.RUNNING, AuditStatus.INCONCLUSIVE)
    )
    found = [
        (pk, sum(categories.get(category, 0) for category in WRONG), rows)
        for pk, categories, rows in reports.values_list("pk", "categories", "rows")
    ]
    wrong = sum(rows for _, rows, _ in found)
    compared = sum(rows for _, _, rows in found)
    most = rule.at_most or 0
    if wrong > most:
        named = ", ".join(str(pk) for pk, rows, _ in found if rows)
        return Judged(
            RuleVerdict.BROKEN,
            f"{wrong:,} rows with a wrong lookup value were found (audit {named}).",
            value=float(wrong),
            bound=most,
            calls=compared,
        )
    if not found:
        return Judged(RuleVerdict.INCONCLUSIVE, "Nothing was compared yet.", bound=most)
    return Judged(
        RuleVerdict.KEPT,
        f"{compared:,} rows were compared; no wrong lookup value was found.",
        value=float(wrong),
        bound=most,
        calls=compared,
    )


# Acting


def _heed_resumption(states: Collection[RuleState], now: datetime) -> None:
    """Who lets a run go on that a rule paused, starts the windows of all such rules afresh."""
    pausing = [state for state in states if state.action == "pause"]
    over = [state for state in pausing if state.acting and not _is_paused(state.run)]
    for state in over:
        state.acting, state.run = False, None
    if over:
        for state in pausing:
            state.counts_from = now


def _is_paused(run: PhaseRun | None) -> bool:
    return run is not None and run.state in (RunState.PAUSING, RunState.PAUSED)


def _follow(rule: Rule, state: RuleState, judged: Judged, run: PhaseRun, now: datetime) -> None:
    """Bring the state up to date, and begin or end what the rule does."""
    if state.verdict != judged.verdict:
        state.since = now
    state.errors = state.errors + 1 if judged.verdict == RuleVerdict.ERROR else 0
    state.action, state.verdict, state.judged_at = rule.action, judged.verdict, now
    state.message, state.value, state.usual = judged.message, judged.value, judged.usual
    state.bound, state.calls = judged.bound, judged.calls
    state.windows = [asdict(window) for window in judged.windows]
    if state.errors == ERRORS_SAID:
        _record("rule not judged", rule, state, run, judged.message)
    if judged.verdict == RuleVerdict.BROKEN and not state.acting:
        _begin(rule, state, run)
    elif judged.verdict == RuleVerdict.KEPT and state.acting:
        _end(rule, state, run)


def _begin(rule: Rule, state: RuleState, run: PhaseRun) -> None:
    if rule.action == "pause":
        state.acting = _pause(rule, state, run)
        return
    state.acting = True
    event, what = {
        "warn": ("rule broken", "is broken"),
        "throttle": ("throttled by rule", "slows backfills down"),
        "hold": ("held by rule", "holds the next phase"),
    }[rule.action]
    _record(event, rule, state, run, f"Rule “{rule.id}” {what}. {state.message}")


def _pause(rule: Rule, state: RuleState, run: PhaseRun) -> bool:
    """Whether there was something to pause. A rollback goes on: it may be the cure."""
    if run.state not in (RunState.QUEUED, RunState.RUNNING):
        return False
    with verbs.alone_with(run.rollout):
        run.refresh_from_db()
        if run.way == Way.BACKWARD:
            return False
        waits = run.state == RunState.QUEUED
        if not (waits and move(run, RunState.PAUSED)) and not move(run, RunState.PAUSING):
            return False
        state.run = run
        _record(
            "paused by rule",
            rule,
            state,
            run,
            f"Rule “{rule.id}” paused {verbs.name_of(run)}. {state.message}",
        )
    return True


def _end(rule: Rule, state: RuleState, run: PhaseRun) -> None:
    """Kept again: warnings and throttles end by themselves, the others if the rule says so."""
    if rule.action in ("pause", "hold") and not rule.resumes:
        return
    if rule.action == "pause" and not _resume(rule, state):
        return
    state.acting, state.run = False, None
    if rule.action != "pause":
        _record("rule kept again", rule, state, run, f"Rule “{rule.id}”: {state.message}")


def _resume(rule: Rule, state: RuleState) -> bool:
    """Whether the run that it paused goes on, or is left to another rule that holds it too."""
    run = state.run
    if run is None or run.state != RunState.PAUSED:
        return False
    others = RuleState.objects.filter(rollout=run.rollout, run=run, acting=True)
    if others.exclude(rule=rule.id).exists():
        return True
    try:
        verbs.resume(run.rollout, actor=ByRule(rule), source="watchdog")
    except verbs.Refused:
        return False
    return True


@dataclass(frozen=True)
class ByRule:
    """Who acts in the log where a rule does."""

    rule: Rule

    def get_username(self) -> str:
        return f"rule {self.rule.id}"


def _record(event: str, rule: Rule, state: RuleState, run: PhaseRun, message: str) -> None:
    log.record(
        event,
        message,
        actor=ByRule(rule).get_username(),
        source="watchdog",
        rollout=run.rollout,
        phase=run.phase,
        data={
            "run": run.pk,
            "rule": rule.id,
            "sentence": rule.sentence,
            "value": state.value,
            "baseline": state.usual,
            "bound": state.bound,
            "calls": state.calls,
            "windows": state.windows,
        },
    )
