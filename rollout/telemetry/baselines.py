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
# Of fewer calls no percentile is known well enough to be kept for the runs that follow.
MIN_BASELINE_CALLS = 50
# By then every process has written its measurements from before the run.
_COMPLETE_AFTER = timedelta(seconds=6)


def baseline_of(run: PhaseRun) -> dict[str, OperationStats]:
    """Each operation in the hour before a run was requested, by name.

    A run that follows another one of its rollout within the hour has that one's baseline, whether
    it is kept already or not: the hour before it is no longer the application alone, and what a
    phase slowed down would count as usual.
    """
    if run.baseline is not None:
        return _read_all(run.baseline)
    before = _of_the_run_before(run)
    if sum(stats.calls for stats in before.values()) >= MIN_BASELINE_CALLS:
        return before
    return stats_by_operation(run.created_at - BASELINE, run.created_at)


def keep_baseline(run: PhaseRun) -> None:
    """Keep the baseline of a run that has none yet, once it is complete."""
    if run.baseline is None and timezone.now() - run.created_at > _COMPLETE_AFTER:
        by_operation = baseline_of(run)
        run.baseline = {operation: _kept(stats) for operation, stats in by_operation.items()}
        run.save(update_fields=["baseline"])


def _of_the_run_before(run: PhaseRun) -> dict[str, OperationStats]:
    """What the newest run in the hour before keeps; while none does, the hour before the first."""
    before = PhaseRun.objects.filter(
        rollout=run.rollout_id, pk__lt=run.pk, created_at__gte=run.created_at - BASELINE
    )
    kept = before.exclude(baseline=None).order_by("-pk").values_list("baseline", flat=True).first()
    if kept is not None:
        return _read_all(kept)
    first = before.order_by("pk").values_list("created_at", flat=True).first()
    return stats_by_operation(first - BASELINE, first) if first is not None else {}


def _read_all(kept: dict[str, Any]) -> dict[str, OperationStats]:
    return {operation: _read(of_operation) for operation, of_operation in kept.items()}


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
