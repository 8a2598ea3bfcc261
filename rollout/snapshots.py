"""The journal's snapshots, as lists show them."""

from django.db.models import QuerySet

from rollout.models import Rollout, Snapshot


def listed(rollout: Rollout) -> QuerySet[Snapshot]:
    """A rollout's snapshots, newest first, without the evidence that only their pages show."""
    return Snapshot.objects.filter(rollout=rollout).defer(
        "crosstabs", "prerequisites", "left_out", "contents", "restored_counts", "differences"
    )
