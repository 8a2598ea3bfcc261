"""What a run is compared with: the application before the rollout's work, not beside it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout.models import PhaseRun, Rollout
from rollout.telemetry.baselines import baseline_of, keep_baseline
from rollout.telemetry.histograms import Histogram
from tests.console import journal


def baseline(*, calls: int) -> dict[str, Any]:
    durations = Histogram()
    for _ in range(calls):
        durations.add(0.01)
    figures = {"calls": calls, "errors": 0, "queries": calls, "database_seconds": 0.5}
    return {"search": {**figures, "durations": durations.as_json()}}


@pytest.mark.parametrize(
    ("minutes", "calls", "is_kept"), [(59, 100, True), (61, 100, False), (59, 10, False)]
)
def test_a_run_within_the_hour_keeps_the_baseline_of_the_one_before(
    tiny: Rollout, minutes: int, calls: int, is_kept: bool
) -> None:
    before = PhaseRun.objects.create(
        rollout=tiny, phase=0, state="done", baseline=baseline(calls=calls)
    )
    run = PhaseRun.objects.create(rollout=tiny, phase=1, state="done")
    now = timezone.now()
    run.created_at = now - timedelta(seconds=10)
    run.save(update_fields=["created_at"])
    PhaseRun.objects.filter(pk=before.pk).update(
        created_at=run.created_at - timedelta(minutes=minutes)
    )
    keep_baseline(run)
    run.refresh_from_db()
    assert run.baseline == (baseline(calls=calls) if is_kept else {})


def test_runs_within_the_hour_have_one_baseline_before_anything_keeps_it(tiny: Rollout) -> None:
    runs = [PhaseRun.objects.create(rollout=tiny, phase=n, state="done") for n in range(3)]
    now = timezone.now()
    for run, minutes in zip(runs, (50, 20, 0), strict=True):
        run.created_at = now - timedelta(minutes=minutes)
        run.save(update_fields=["created_at"])
    journal.measured(now - timedelta(minutes=55), ms=10, calls=60)
    journal.measured(now - timedelta(minutes=40), ms=400, calls=600)
    usual = {"search": (60, 10)}
    assert [calls_and_p95(run) for run in runs] == 3 * [usual], "none is kept"
    keep_baseline(runs[0])
    assert [calls_and_p95(run) for run in runs] == 3 * [usual], "the first one's is"


def calls_and_p95(run: PhaseRun) -> dict[str, tuple[int, int]]:
    return {
        operation: (stats.calls, round((stats.p95 or 0) / 10) * 10)
        for operation, stats in baseline_of(run).items()
    }
