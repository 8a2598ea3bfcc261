"""What a run is compared with: the application before the rollout's work, not beside it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout import runner
from rollout.models import PhaseRun, Rollout
from rollout.telemetry.baselines import baseline_of, keep_baseline
from rollout.telemetry.histograms import Histogram
from tests.console import journal
from tests.support.rollouts import ADA


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


@pytest.mark.parametrize(("minutes", "calls", "is_kept"), [(59, 100, True), (61, 100, False)])
def test_a_run_has_the_baseline_of_the_one_before_from_its_first_second(
    tiny: Rollout, minutes: int, calls: int, is_kept: bool
) -> None:
    before = PhaseRun.objects.create(
        rollout=tiny, phase=0, direction="backward", state="done", baseline=baseline(calls=calls)
    )
    PhaseRun.objects.filter(pk=before.pk).update(
        created_at=timezone.now() - timedelta(minutes=minutes)
    )
    run = runner.start(tiny, 0, actor=ADA)
    run.refresh_from_db()
    assert run.baseline == (baseline(calls=calls) if is_kept else None)
    journal.measured(timezone.now() - timedelta(minutes=1), ms=400, calls=600)
    p95 = baseline_of(run)["search"].p95
    assert p95 is not None
    assert (p95 < 12) == is_kept, "what the run before slowed down is not the usual"
