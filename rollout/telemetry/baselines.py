"""The statistics of the application before a run, which later ones are compared with.

They are stored with the run, since measurements are downsampled.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from rollout.models import PhaseRun, Rollout
from rollout.telemetry.histograms import Histogram
from rollout.telemetry.operation_stats import OperationStats, stats_by_operation

BASELINE = timedelta(hours=1)
# Of fewer calls no percentile is known well enough to be kept for the runs that follow.
MIN_BASELINE_CALLS = 50
# Nobody starts more of them within an hour of one another.
MAX_RUNS = 200
# By then every process has written its measurements from before the run.
_COMPLETE_AFTER = timedelta(seconds=6)


def baseline_of(run: PhaseRun) -> dict[str, OperationStats]:
    """Each operation in the hour before a run was requested, by name."""
    if run.baseline is not None:
        return {operation: _read(kept) for operation, kept in run.baseline.items()}
    return _before(run)


def inherited_baseline(rollout: Rollout) -> dict[str, Any] | None:
    """What a run that is requested now keeps from the start: the baseline of the one before.

    Within the hour it is that one's, if it says anything: the hour before the run is no longer the
    application alone, and what a phase slowed down would count as usual.
    """
    return _of_the_newest(PhaseRun.objects.filter(rollout=rollout), timezone.now())


def baseline_until(run: PhaseRun) -> datetime:
    """The end of the hour that a run is compared with: the request of the first run of those that
    followed one another within an hour."""
    runs = PhaseRun.objects.filter(rollout=run.rollout_id, pk__lt=run.pk).order_by("-pk")
    until = run.created_at
    for requested_at in runs.values_list("created_at", flat=True)[:MAX_RUNS]:
        if until - requested_at > BASELINE:
            break
        until = requested_at
    return until


def keep_baseline(run: PhaseRun) -> None:
    """Keep the baseline of a run that has none yet, once it is complete."""
    if run.baseline is None and timezone.now() - run.created_at > _COMPLETE_AFTER:
        before = PhaseRun.objects.filter(rollout=run.rollout_id, pk__lt=run.pk)
        run.baseline = _of_the_newest(before, run.created_at)
        if run.baseline is None:
            run.baseline = {operation: _kept(stats) for operation, stats in _before(run).items()}
        run.save(update_fields=["baseline"])


def _before(run: PhaseRun) -> dict[str, OperationStats]:
    """Each operation in the hour before a run was requested, as measured."""
    since = run.created_at - BASELINE
    return stats_by_operation(since, run.created_at, plan=run.rollout.plan)


def _of_the_newest(runs: QuerySet[PhaseRun], at: datetime) -> dict[str, Any] | None:
    """What the newest of the runs in the hour before keeps, if it says anything."""
    kept = runs.filter(created_at__gte=at - BASELINE).exclude(baseline=None).order_by("-pk")
    baseline = kept.values_list("baseline", flat=True).first()
    calls = sum(operation["calls"] for operation in (baseline or {}).values())
    return baseline if calls >= MIN_BASELINE_CALLS else None


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
