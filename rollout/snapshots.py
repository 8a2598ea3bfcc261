"""What the journal's snapshots say: whether a phase that needs one may start."""

from collections.abc import Callable
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from rollout.models import (
    SNAPSHOT_UNDER_WAY,
    PhaseRun,
    Rollout,
    Snapshot,
    SnapshotState,
    StepRun,
)
from rollout.plan.gates import Answer

LOOKED_AT = 50
"""So many of the newest snapshots are looked at for a verified one."""


def listed(rollout: Rollout) -> QuerySet[Snapshot]:
    """A rollout's snapshots, newest first, without the evidence that only their pages show."""
    return Snapshot.objects.filter(rollout=rollout).defer(
        "crosstabs", "prerequisites", "left_out", "contents", "restored_counts", "differences"
    )


def answer(
    rollout: Rollout,
    *,
    number: int,
    before: PhaseRun | None,
    changed: Callable[[], StepRun | None],
    fresh_for: timedelta,
) -> tuple[Answer, str]:
    """Whether a verified snapshot is fresh enough for a phase, with the evidence.

    ``before`` is the newest run of the phase before it, ``changed`` finds the step that last
    changed what the application writes.
    """
    newest = list(listed(rollout)[:LOOKED_AT])
    snapshot = next((each for each in newest if each.state == SnapshotState.VERIFIED), None)
    if snapshot is None or snapshot.taken_at is None:
        return _none_verified(newest[0] if newest else None)
    at = f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    if before is not None and (
        before.finished_at is None or before.finished_at > snapshot.taken_at
    ):
        return "fail", (
            f"Snapshot {snapshot.pk} of {at} is older than the end of phase {number - 1}. "
            "Take another."
        )
    change = changed()
    changed_at = (change.finished_at or change.started_at) if change else None
    if change is not None and changed_at is not None and changed_at > snapshot.taken_at:
        return "fail", (
            f"Snapshot {snapshot.pk} of {at} is older than step {change.step}, which changed what "
            "is written. Take another."
        )
    if timezone.now() - snapshot.taken_at > fresh_for:
        return "fail", (
            f"Snapshot {snapshot.pk} of {at} is older than the {_words(fresh_for)} that the plan "
            "allows. Take another."
        )
    rows = sum(snapshot.counts.values())
    return "pass", (
        f"Snapshot {snapshot.pk} of {at} was restored, and its {rows:,} rows in "
        f"{len(snapshot.counts)} tables and their pairs of values were all there."
    )


def _none_verified(newest: Snapshot | None) -> tuple[Answer, str]:
    if newest is not None and newest.state in SNAPSHOT_UNDER_WAY:
        return "unknown", f"Snapshot {newest.pk} is under way. Wait until it is verified."
    if newest is not None and newest.state == SnapshotState.FAILED:
        return "fail", f"Snapshot {newest.pk} failed: {newest.error} {newest.advice}"
    return "fail", "There is no verified snapshot. Take one."


def _words(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    if minutes % 60 == 0:
        return f"{minutes // 60} h"
    return f"{minutes} min"
