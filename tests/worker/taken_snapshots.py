"""Snapshots that are taken here, and what they leave."""

from datetime import timedelta

from django.utils import timezone

from rollout import runner
from rollout.engine.snapshot import scratch
from rollout.models import Rollout, Snapshot
from tests.support import rollouts
from tests.support.rollouts import ADA


def scratch_databases(snapshot: Snapshot) -> list[str]:
    with rollouts.target() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)",
            [scratch.prefix_of(connection, snapshot.pk)],
        ).fetchall()
    return [row[0] for row in rows]


def taken(rollout: Rollout) -> Snapshot:
    """A snapshot that was worked on until it was verified or failed."""
    snapshot = runner.take_snapshot(rollout, actor=ADA)
    rollouts.work()
    snapshot.refresh_from_db()
    return snapshot


def time_passes(snapshot: Snapshot) -> None:
    """As though nothing had been heard of its worker for longer than a lease."""
    Snapshot.objects.filter(pk=snapshot.pk).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )
