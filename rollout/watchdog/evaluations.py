"""What a plan's rules say at a moment, each on which numbers. Changes nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Max, Sum

from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    Mismatch,
    MismatchState,
    PhaseRun,
    Rollout,
    RuleState,
    RuleVerdict,
    ShadowTally,
)
from rollout.plan.rules import COUNTED, Rule, WindowVerdict
from rollout.telemetry import reading
from rollout.telemetry.baseline import baseline_of
from rollout.telemetry.reading import Figures, together
from rollout.telemetry.signal import FEWEST_CALLS

SETTLED = timedelta(milliseconds=700)
"""So long after a window's end its processes have written what they measured in it."""
WRONG = ("wrong", "orphan")
"""Categories of a lookup value that is not the right one, as opposed to one that is missing."""


@dataclass(frozen=True)
class Window:
    """One window of a rule."""

    at: str
    value: float | None
    calls: int
    verdict: WindowVerdict


@dataclass(frozen=True)
class Evaluation:
    """What a rule came to, and the numbers that it came to it by."""

    verdict: RuleVerdict
    message: str
    value: float | None = None
    usual: float | None = None
    bound: float | None = None
    calls: int = 0
    windows: Sequence[Window] = field(default_factory=tuple)


def evaluation_of(rule: Rule, state: RuleState, run: PhaseRun, now: datetime) -> Evaluation:
    """What a rule says now of the application, and of what was found since the run began."""
    since = max(run.created_at, state.counts_from or run.created_at)
    if rule.statistic == "wrong_values":
        return _wrong_values(rule, run.rollout, since)
    windows = _windows(rule, now)
    if state.counts_from is not None:
        windows = {at: found for at, found in windows.items() if at >= state.counts_from}
    if rule.statistic == "consecutive_errors":
        return _in_a_row(rule, windows)
    before = _of(rule, baseline_of(run))
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
) -> Evaluation:
    seen = []
    for at, found in windows.items():
        value = _value(rule, found)
        verdict = rule.verdict(value, calls=found.calls, usual=usual)
        seen.append(Window(at.isoformat(), value, found.calls, verdict))
    verdict = rule.together([one.verdict for one in seen], acting=acting)
    all_of_it = together(windows.values())
    value, bound = _value(rule, all_of_it), rule.bound(usual)
    return Evaluation(
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


def _in_a_row(rule: Rule, windows: Mapping[datetime, Figures]) -> Evaluation:
    """How many of the newest calls failed one after the other, as far as windows can tell."""
    most = math.inf if rule.at_most is None else rule.at_most
    failed = 0
    for found in reversed(list(windows.values())):
        if found.errors < found.calls:
            break
        failed += found.errors
    calls = sum(found.calls for found in windows.values())
    if not calls:
        return Evaluation(RuleVerdict.INCONCLUSIVE, "No calls were measured.", bound=rule.at_most)
    broken = failed > most
    return Evaluation(
        RuleVerdict.BROKEN if broken else RuleVerdict.KEPT,
        f"{failed:,} calls failed one after the other, and none succeeded."
        if failed
        else f"Of the last {calls:,} calls the newest ones succeeded.",
        value=float(failed),
        bound=rule.at_most,
        calls=calls,
    )


def _wrong_values(rule: Rule, rollout: Rollout, since: datetime) -> Evaluation:
    """Of audits and shadow reads, since the last full audit that was clean: it settled them."""
    done = AuditReport.objects.filter(rollout=rollout, finished_at__gt=since)
    clean = done.filter(status=AuditStatus.CLEAN, mode=AuditMode.FULL, tables=[])
    since = max(since, clean.aggregate(last=Max("started_at"))["last"] or since)
    reports = list(
        done.filter(finished_at__gt=since).exclude(
            status__in=(AuditStatus.RUNNING, AuditStatus.INCONCLUSIVE)
        )
    )
    found = {report: rows for report in reports if (rows := _wrong_rows(report))}
    wrong, most = sum(found.values()), rule.at_most or 0
    compared = sum(report.rows for report in reports if report.mode != AuditMode.SHADOW)
    reads = (
        ShadowTally.objects.filter(rollout=rollout, at__gte=since).aggregate(n=Sum("compared"))["n"]
        or 0
    )
    if wrong > most:
        named = ", ".join(_name_of(report) for report in found)
        return Evaluation(
            RuleVerdict.BROKEN,
            f"{wrong:,} rows with a wrong lookup value were found ({named}).",
            value=float(wrong),
            bound=most,
            calls=compared + reads,
        )
    if not compared and not reads:
        return Evaluation(RuleVerdict.INCONCLUSIVE, "Nothing was compared yet.", bound=most)
    return Evaluation(
        RuleVerdict.KEPT,
        f"{compared:,} rows and {reads:,} shadow reads were compared; no wrong lookup value was "
        "found.",
        value=float(wrong),
        bound=most,
        calls=compared + reads,
    )


def _wrong_rows(report: AuditReport) -> int:
    """Rows with a wrong value that nobody has accepted."""
    rows = sum(report.categories.get(category, 0) for category in WRONG)
    if rows and report.waived:
        waived = Mismatch.objects.filter(
            report=report, category__in=WRONG, state=MismatchState.WAIVED
        )
        rows -= waived.values("table", "key").distinct().count()
    return max(rows, 0)


def _name_of(report: AuditReport) -> str:
    what = "shadow reads" if report.mode == AuditMode.SHADOW else "audit"
    return f"{what} {report.pk}"
