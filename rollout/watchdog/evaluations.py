"""What a plan's rules say at a moment, each on which numbers. Changes nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db.models import Max, Sum

from rollout.journal.moments import in_words
from rollout.logs.texts import counted
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
from rollout.plan.guardrails import Guardrail, WindowVerdict
from rollout.telemetry import operation_stats
from rollout.telemetry.operation_stats import OperationStats, merged
from rollout.telemetry.signals import baseline_value_of, stats_of, value_of, with_unit

# By then, after a window's end, its processes have written what they measured in it.
SETTLED = timedelta(milliseconds=700)
# Categories of a lookup value that is not the right one, as opposed to one that is missing.
WRONG = ("wrong", "orphan")


@dataclass(frozen=True)
class Window:
    """One window of a rule."""

    at: str
    value: float | None
    calls: int
    verdict: WindowVerdict


@dataclass(frozen=True)
class Evaluation:
    """What a guardrail was found to be, and the numbers behind it."""

    verdict: RuleVerdict
    message: str
    value: float | None = None
    baseline: float | None = None
    bound: float | None = None
    calls: int = 0
    windows: Sequence[Window] = field(default_factory=tuple)


def evaluation_of(
    rule: Guardrail,
    state: RuleState,
    run: PhaseRun,
    now: datetime,
    baseline: Mapping[str, OperationStats],
) -> Evaluation:
    """Evaluate a guardrail now, from windows of measurements or from what audits found."""
    since = max(run.created_at, state.counts_from or run.created_at)
    if rule.statistic == "wrong_values":
        return _wrong_values(rule, run.rollout, since)
    windows = _windows(rule, now, run.rollout.plan)
    if state.counts_from is not None:
        windows = {at: stats for at, stats in windows.items() if at >= state.counts_from}
    if rule.statistic == "consecutive_errors":
        return _in_a_row(rule, windows)
    return _by_windows(rule, windows, baseline_value_of(rule, baseline), acting=state.acting)


def _windows(rule: Guardrail, now: datetime, plan: str) -> dict[datetime, OperationStats]:
    """The statistics of the last windows by their starts, which lie on whole seconds."""
    number = int((now - SETTLED).timestamp()) // rule.seconds
    until = datetime.fromtimestamp(number * rule.seconds, UTC)
    stats = operation_stats.windows(until, seconds=rule.seconds, number=rule.windows, plan=plan)
    first = until - timedelta(seconds=rule.seconds * rule.windows)
    return {
        first + timedelta(seconds=rule.seconds * n): stats_of(rule, by_operation)
        for n, by_operation in enumerate(stats)
    }


def _by_windows(
    rule: Guardrail,
    windows: Mapping[datetime, OperationStats],
    baseline: float | None,
    *,
    acting: bool,
) -> Evaluation:
    evaluated = []
    for at, stats in windows.items():
        value = value_of(rule, stats)
        verdict = rule.verdict(value, calls=stats.calls, usual=baseline)
        evaluated.append(Window(at.isoformat(), value, stats.calls, verdict))
    verdict = rule.together([window.verdict for window in evaluated], acting=acting)
    total = merged(windows.values())
    value, calls, bound = value_of(rule, total), total.calls, rule.bound(baseline)
    over = f"in {rule.seconds * rule.windows} s"
    if breaching := [window for window in evaluated if window.verdict == "broken"]:
        # What breached the limit, and not what calmer windows make of it.
        value, calls = breaching[-1].value, breaching[-1].calls
        over = f"in the newest breaching window of {rule.seconds} s"
    return Evaluation(
        RuleVerdict(verdict),
        _sentence(
            rule, evaluated, value, f"{over}, {counted(calls, 'call')}", baseline, bound, acting
        ),
        value,
        baseline,
        bound,
        calls,
        evaluated,
    )


def _sentence(
    rule: Guardrail,
    windows: Sequence[Window],
    value: float | None,
    over: str,
    baseline: float | None,
    bound: float | None,
    acting: bool,
) -> str:
    if value is None:
        return "No traffic measured."
    name = "Error rate" if rule.is_share else rule.statistic
    of = f" of {rule.operation}" if rule.operation else ""
    measured = f"{name}{of} {with_unit(rule, value)} {over}"
    if bound is None:
        return f"{measured}; not enough baseline data to compare."
    if baseline is not None:
        measured += f"; baseline {with_unit(rule, baseline)}"
    broken = sum(window.verdict == "broken" for window in windows)
    few = sum(window.verdict == "inconclusive" for window in windows)
    above = f"{broken} of {len(windows)} windows above {with_unit(rule, bound)}"
    # What acts stops acting once no window is above: fewer than it takes to begin.
    trend, how_far = rule.trend([window.verdict for window in windows]) if acting else ("", "")
    if trend:
        above = f"{trend}, {how_far} of {with_unit(rule, bound)}"
    return f"{measured}; {above}{f', {few} with too few calls' if few else ''}."


def _in_a_row(rule: Guardrail, windows: dict[datetime, OperationStats]) -> Evaluation:
    """How many of the newest calls failed in a row, as far as windows can tell."""
    most = math.inf if rule.at_most is None else rule.at_most
    failed = 0
    for stats in reversed(windows.values()):
        if stats.errors < stats.calls:
            break
        failed += stats.errors
    calls = sum(stats.calls for stats in windows.values())
    if not calls:
        return Evaluation(RuleVerdict.INCONCLUSIVE, "No traffic measured.", bound=rule.at_most)
    broken = failed > most
    return Evaluation(
        RuleVerdict.BROKEN if broken else RuleVerdict.KEPT,
        f"{counted(failed, 'consecutive failure')}."
        if failed
        else f"0 consecutive failures in the last {counted(calls, 'call')}.",
        value=float(failed),
        bound=rule.at_most,
        calls=calls,
    )


def _wrong_values(rule: Guardrail, rollout: Rollout, since: datetime) -> Evaluation:
    """What audits and shadow reads found since the last clean full audit."""
    done = AuditReport.objects.filter(rollout=rollout, finished_at__gt=since)
    clean = done.filter(status=AuditStatus.CLEAN, mode=AuditMode.FULL, tables=[])
    since = max(since, clean.aggregate(last=Max("started_at"))["last"] or since)
    reports = list(
        done.filter(finished_at__gt=since).exclude(
            status__in=(AuditStatus.RUNNING, AuditStatus.INCONCLUSIVE)
        )
    )
    wrong_rows = _counted_once({r: rows for r in reports if (rows := _wrong_rows(r))})
    wrong, most = sum(wrong_rows.values()), rule.at_most or 0
    compared = sum(report.rows for report in reports if report.mode != AuditMode.SHADOW)
    reads = (
        ShadowTally.objects.filter(rollout=rollout, at__gte=since).aggregate(n=Sum("compared"))["n"]
        or 0
    )
    if wrong > most:
        named = ", ".join(_name_of(report) for report in wrong_rows)
        return Evaluation(
            RuleVerdict.BROKEN,
            f"{counted(wrong, 'row')} with wrong values found ({named}).",
            value=float(wrong),
            bound=most,
            calls=compared + reads,
        )
    if not compared and not reads:
        return _of_earlier_audit(rollout, since, most)
    return Evaluation(
        RuleVerdict.KEPT,
        f"{counted(compared, 'row')} and {counted(reads, 'shadow read')} compared since "
        f"{in_words(since)}, 0 wrong values found.",
        value=float(wrong),
        bound=most,
        calls=compared + reads,
    )


def _counted_once(wrong_rows: Mapping[AuditReport, int]) -> Mapping[AuditReport, int]:
    """The newest full audit alone, where it found any: an older one or a sample met the same."""
    full = (r for r in wrong_rows if r.mode == AuditMode.FULL and not r.tables)
    newest = max(full, key=lambda report: report.pk, default=None)
    return wrong_rows if newest is None else {newest: wrong_rows[newest]}


def _of_earlier_audit(rollout: Rollout, since: datetime, most: float) -> Evaluation:
    """Where nothing was compared since then: a clean audit counts if none after it found more."""
    ended = AuditReport.objects.filter(rollout=rollout, finished_at__lte=since)
    clean = ended.filter(status=AuditStatus.CLEAN, mode=AuditMode.FULL, tables=[]).first()
    mismatched = ended.filter(status=AuditStatus.MISMATCHED).first()
    if clean is None or (mismatched is not None and mismatched.pk > clean.pk):
        return Evaluation(RuleVerdict.INCONCLUSIVE, "No data compared yet.", bound=most)
    return Evaluation(
        RuleVerdict.KEPT,
        f"Audit {clean.pk} of all rows was clean; nothing compared since.",
        value=0.0,
        bound=most,
    )


def _wrong_rows(report: AuditReport) -> int:
    """Rows with a wrong value that nobody has waived."""
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
