"""What a guardrail's statistic is now, and what it was before a phase."""

from collections.abc import Mapping

from rollout.plan.rules import COUNTED, Rule
from rollout.telemetry.operation_stats import OperationStats, merged
from rollout.telemetry.signals import MIN_CALLS


def stats_of(rule: Rule, by_operation: Mapping[str, OperationStats]) -> OperationStats:
    """The statistics of the rule's operation, or of all operations."""
    if rule.operation:
        return by_operation.get(rule.operation, OperationStats())
    return merged(by_operation.values())


def value_of(rule: Rule, stats: OperationStats) -> float | None:
    """The rule's statistic; None without calls."""
    value: float | None = getattr(stats, rule.statistic) if stats.calls else None
    return value


def baseline_value_of(rule: Rule, baseline: Mapping[str, OperationStats]) -> float | None:
    """The rule's statistic before the phase; None with too few calls to compare with."""
    stats = stats_of(rule, baseline)
    return value_of(rule, stats) if stats.calls >= MIN_CALLS else None


def with_unit(rule: Rule, value: float) -> str:
    """A value in the unit of the rule's statistic."""
    if rule.is_share:
        return f"{value:.1%}"
    return f"{value:,.0f}" if rule.statistic in COUNTED else f"{value:,.0f} ms"
