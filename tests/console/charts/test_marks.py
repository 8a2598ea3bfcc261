"""What happened meanwhile, drawn above the measurements."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.console.charts.marks import marks_of
from rollout.models import BackfillJob, PhaseRun, Rollout
from tests.console import journal


@pytest.mark.parametrize("state", ["pausing", "paused"])
def test_the_band_of_a_paused_phase_and_of_its_job_ends_at_the_pause(
    rollout: Rollout, state: str
) -> None:
    now = timezone.now()
    paused_at = now - timedelta(minutes=10)
    halts = [[paused_at.isoformat(), None]] if state == "paused" else []
    run = journal.ran(rollout, 2, state, halts=halts)
    job = journal.job_of(journal.reached(run, "backfill", "running"))
    began = now - timedelta(minutes=30)
    PhaseRun.objects.update(created_at=began)
    BackfillJob.objects.filter(pk=job.pk).update(created_at=began)
    marks = marks_of(rollout, now - timedelta(hours=1), now)
    ends = {mark.kind: mark.ended for mark in marks}
    wanted = paused_at if state == "paused" else None
    assert ends == {"phase": wanted, "job": wanted}
    assert {mark.band.width for mark in marks} == {"33.333%" if wanted else "50.000%"}
