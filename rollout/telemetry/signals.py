"""The application's health: its latency and errors now, against those before a phase."""

from collections.abc import Mapping
from datetime import timedelta

from django.utils import timezone

from rollout.engine.health import Signal
from rollout.journal.environments import is_protected
from rollout.models import PhaseRun, RuleState
from rollout.plan.guardrails import COUNTED, Guardrail
from rollout.telemetry.baselines import baseline_of
from rollout.telemetry.operation_stats import OperationStats, merged, stats_by_operation

NAME = "application"
# What the signal of a throttling guardrail is called, before the guardrail's own name.
RULE = "rule "
WINDOW = timedelta(seconds=30)
# With fewer calls in the window there is no verdict.
MIN_CALLS = 20
# The p95 is too high when it is above the baseline's by both this factor and this difference.
SLOWER_TIMES = 2.0
SLOWER_MS = 25.0
# The error rate is too high when it is this far above the baseline's.
ERROR_RATE = 0.05


def application_signals(run: PhaseRun) -> list[Signal]:
    """The application's state now, compared with the baseline of a run.

    Only a protected environment has an application.
    """
    if not is_protected(run.rollout.environment):
        return []
    now = timezone.now()
    stats = stats_by_operation(now - WINDOW, now, plan=run.rollout.plan)
    judged = judge(merged(stats.values()), merged(baseline_of(run).values()))
    return [judged, *_throttling(run)]


def _throttling(run: PhaseRun) -> list[Signal]:
    """The guardrails that throttle backfills at present."""
    states = RuleState.objects.filter(rollout=run.rollout_id, action="throttle", acting=True)
    return [
        Signal(f"{RULE}{state.rule}", "throttle", state.message, state.value, state.bound)
        for state in states
    ]


def judge(now: OperationStats, before: OperationStats) -> Signal:
    """Compare the application's statistics with those before the phase."""
    if now.calls < MIN_CALLS:
        return Signal(
            NAME,
            "unknown",
            f"Only {now.calls:,} operations in the last {WINDOW.total_seconds():.0f} s: too few "
            "to evaluate.",
        )
    if now.error_rate > before.error_rate + ERROR_RATE:
        return Signal(
            NAME,
            "stop",
            f"{now.error_rate:.1%} of the application's operations fail; before the phase "
            f"{before.error_rate:.1%} did.",
            now.error_rate,
            before.error_rate + ERROR_RATE,
        )
    p95, usual = now.p95 or 0.0, before.p95
    if usual is None or before.calls < MIN_CALLS:
        return Signal(
            NAME,
            "unknown",
            f"The application's p95 is {p95:,.0f} ms. There is no baseline from before the phase.",
            p95,
        )
    bound = max(usual * SLOWER_TIMES, usual + SLOWER_MS)
    against = (
        f"p95 is {p95:,.0f} ms over {WINDOW.total_seconds():.0f} s, limit {bound:,.0f} ms, "
        f"baseline {usual:,.0f} ms."
    )
    if p95 > bound:
        return Signal(NAME, "throttle", f"The application is slow: {against}", p95, bound)
    return Signal(NAME, "ok", f"The application is as fast as before: {against}", p95, bound)


def stats_of(rule: Guardrail, by_operation: Mapping[str, OperationStats]) -> OperationStats:
    """The statistics of the rule's operation, or of all operations."""
    if rule.operation:
        return by_operation.get(rule.operation, OperationStats())
    return merged(by_operation.values())


def value_of(rule: Guardrail, stats: OperationStats) -> float | None:
    """The rule's statistic; None without calls."""
    value: float | None = getattr(stats, rule.statistic) if stats.calls else None
    return value


def baseline_value_of(rule: Guardrail, baseline: Mapping[str, OperationStats]) -> float | None:
    """The rule's statistic before the phase; None with too few calls to compare with."""
    stats = stats_of(rule, baseline)
    return value_of(rule, stats) if stats.calls >= MIN_CALLS else None


def with_unit_of_application(value: float, bound: float | None) -> str:
    """The application's p95, or its error rate: the limit of a p95 is never below ``SLOWER_MS``."""
    return f"{value:.1%}" if bound is not None and bound < SLOWER_MS else f"{value:,.0f} ms"


def with_unit(rule: Guardrail, value: float) -> str:
    """A value in the unit of the rule's statistic."""
    if rule.is_share:
        return f"{value:.1%}"
    return f"{value:,.0f}" if rule.statistic in COUNTED else f"{value:,.0f} ms"
