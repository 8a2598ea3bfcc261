"""The application's operations now beside the baseline of the newest run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from rollout.engine.health import Status
from rollout.models import PhaseRun
from rollout.telemetry.baselines import baseline_of
from rollout.telemetry.operation_stats import OperationStats, merged
from rollout.telemetry.signals import judge

# Current figures are measured over this time.
RECENT = timedelta(minutes=5)


@dataclass(frozen=True)
class Compared:
    """An operation, or all of them, now and in the baseline."""

    operation: str
    now: OperationStats
    before: OperationStats

    @property
    def difference(self) -> float | None:
        """Difference of the p95, in ms."""
        if self.now.p95 is None or self.before.p95 is None:
            return None
        return self.now.p95 - self.before.p95

    @property
    def status(self) -> Status:
        """What the application's health says about the difference."""
        return judge(self.now, self.before).status


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
