"""The statistics of the application before a run, which later ones are compared with.

They are stored with the run, since measurements are downsampled.
"""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from rollout.models import PhaseRun
from rollout.telemetry.histograms import Histogram
from rollout.telemetry.operation_stats import OperationStats, stats_by_operation

BASELINE = timedelta(hours=1)
# By then every process has written its measurements from before the run.
_COMPLETE_AFTER = timedelta(seconds=6)


def baseline_of(run: PhaseRun) -> dict[str, OperationStats]:
    """Each operation in the hour before a run was requested, by name."""
    if run.baseline is not None:
        return {operation: _read(kept) for operation, kept in run.baseline.items()}
    return stats_by_operation(run.created_at - BASELINE, run.created_at)


def keep_baseline(run: PhaseRun) -> None:
    """Keep the baseline of a run that has none yet, once it is complete."""
    if run.baseline is None and timezone.now() - run.created_at > _COMPLETE_AFTER:
        by_operation = stats_by_operation(run.created_at - BASELINE, run.created_at)
        run.baseline = {operation: _kept(stats) for operation, stats in by_operation.items()}
        run.save(update_fields=["baseline"])


def _kept(stats: OperationStats) -> dict[str, Any]:
    return {
        "calls": stats.calls,
        "errors": stats.errors,
        "queries": stats.queries,
        "database_seconds": stats.database_seconds,
        "durations": stats.durations.as_json(),
    }


def _read(kept: dict[str, Any]) -> OperationStats:
    return OperationStats(**{**kept, "durations": Histogram.of_json(kept["durations"])})
