"""Rehearsals whose backfill took as long as a test needs."""

from datetime import timedelta

from django.utils import timezone

from rollout.models import Rehearsal, Snapshot
from tests.console import journal

ROWS = {"properties": 50_000, "property_images": 0}


def a_rehearsal(snapshot: Snapshot, *, backfill: float, state: str = "passed") -> Rehearsal:
    """One whose phase 2 took that long to backfill, and two seconds for its triggers."""
    rehearsal = journal.rehearsed(snapshot, state)
    now = timezone.now()
    run = journal.ran(rehearsal.sandbox, 2, started_at=now - timedelta(seconds=backfill + 2))
    journal.reached(run, "dual-write")
    journal.reached(run, "backfill", started_at=now - timedelta(seconds=backfill), finished_at=now)
    return rehearsal
