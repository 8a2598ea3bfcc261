"""The application's operations now beside the baseline of the newest run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from rollout.engine.health import Status
from rollout.models import PhaseRun
from rollout.telemetry.baselines import baseline_of
from rollout.telemetry.operation_stats import OperationStats, merged, stats_by_operation
from rollout.telemetry.signals import judge

# Current figures are measured over this time.
RECENT = timedelta(minutes=5)
# What was bad in them and is good over this time has recovered.
LAST = timedelta(minutes=1)
_BAD = ("throttle", "stop")


@dataclass(frozen=True)
class Compared:
    """An operation, or all of them, now and in the baseline."""

    operation: str
    now: OperationStats
    before: OperationStats
    last_minute: OperationStats | None = None
    """None where it was not asked for."""

    @property
    def difference(self) -> float | None:
        """Difference of the p95, in ms."""
        if self.now.p95 is None or self.before.p95 is None:
            return None
        return self.now.p95 - self.before.p95

    @property
    def status(self) -> Status | Literal["recovered"]:
        """What the application's health says about the difference; ``recovered`` if a slow or
        failing moment is over."""
        status = judge(self.now, self.before).status
        if status in _BAD and self.last_minute is not None:
            last = judge(self.last_minute, self.before).status
            return "recovered" if last == "ok" else status
        return status


def with_last_minute(rows: list[Compared], until: datetime, plan: str) -> list[Compared]:
    """Several operations with their last minute, which is read if any of them is bad."""
    if all(row.status not in _BAD for row in rows):
        return rows
    last = stats_by_operation(until - LAST, until, plan=plan)
    last["all"] = merged(last.values())
    return [replace(row, last_minute=last.get(row.operation)) for row in rows]


def compared_with_baseline(
    newest: PhaseRun | None, now: Mapping[str, OperationStats]
) -> list[Compared]:
    """Each operation against the baseline of the newest run, and last all of them together.

    Empty where nothing was measured, now or then.
    """
    before = baseline_of(newest) if newest else {}
    rows = [
        Compared(name, now.get(name, OperationStats()), before.get(name, OperationStats()))
        for name in sorted({*now, *before})
    ]
    if rows:
        rows.append(Compared("all", merged(now.values()), merged(before.values())))
    return rows
