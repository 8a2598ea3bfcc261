"""What wrote a table at a moment: the last change of the write path before it, and passes."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.models import BackfillJob, PhaseRun, StepRun
from rollout.queries.write_paths import WritePath, write_path_at
from tests.console import journal

pytestmark = pytest.mark.django_db


def test_the_last_change_of_the_write_path_and_the_passes_at_work_are_named() -> None:
    rollout, now = journal.the_rollout(), timezone.now()

    def at(minutes: int, table: str = "properties") -> WritePath:
        return write_path_at(rollout, table, now - timedelta(minutes=minutes))

    def ended(step: StepRun, minutes: int) -> StepRun:
        StepRun.objects.filter(pk=step.pk).update(finished_at=now - timedelta(minutes=minutes))
        return step

    run = journal.ran(rollout, 2)
    ended(journal.reached(run, "dual-write"), 50)
    step = ended(journal.reached(run, "backfill"), 30)
    job = journal.job_of(step)
    BackfillJob.objects.filter(pk=job.pk).update(
        created_at=now - timedelta(minutes=40), finished_at=now - timedelta(minutes=30)
    )
    ended(journal.reached(run, "audit"), 25)
    back = PhaseRun.objects.create(rollout=rollout, phase=2, direction="backward", state="done")
    ended(journal.reached(back, "dual-write"), 10)

    assert (at(60).step, at(60).jobs) == (None, [])
    during = at(35)
    assert during.step is not None
    assert (during.step.id, during.phase, during.jobs) == ("dual-write", 2, [job])
    assert at(35, "property_images").jobs == []
    after = at(20)
    assert after.step is not None
    assert (after.step.id, after.direction, after.jobs) == ("backfill", "forward", [])
    assert at(5).direction == "backward"
