"""The journal's snapshots, as lists show them, and the programs that take and restore them."""

from django.db.models import QuerySet

from rollout.conf import setting
from rollout.engine.snapshot.programs import Programs, find_programs
from rollout.engine.target import Connection
from rollout.models import Rollout, Snapshot, SnapshotState

# What only a snapshot's own page shows.
EVIDENCE = ["crosstabs", "prerequisites", "left_out", "contents", "restored_counts", "differences"]


def listed(rollout: Rollout) -> QuerySet[Snapshot]:
    """A rollout's snapshots, newest first, without their evidence."""
    return rollout.snapshots.defer(*EVIDENCE)


def newest_verified(rollout: Rollout) -> Snapshot | None:
    """The snapshot that holds the newest data of those that can be restored."""
    return (
        Snapshot.objects.select_related("rollout")
        .filter(rollout=rollout, state=SnapshotState.VERIFIED)
        .order_by("-taken_at")
        .first()
    )


def programs_for(connection: Connection) -> Programs:
    """The client programs that fit a server. Raises SnapshotError."""
    given = setting("PG_BIN", "")
    return find_programs(connection.info.server_version // 10_000, given=str(given))
