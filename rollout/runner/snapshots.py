"""Snapshots as people request them: take, verify, cancel, delete."""

import logging
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from rollout import gates, queue
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, alone_with, plan_of, refuse_out_of_reach
from rollout.journal.transitions import move
from rollout.models import (
    SNAPSHOT_ENDED,
    SNAPSHOT_UNDER_WAY,
    WORKING,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.runner.cancellations import ask_to_cancel
from rollout.worker import dump_storage, leases
from rollout.worker.snapshots import SnapshotJob, newest_phase_begun

_log = logging.getLogger(__name__)


def take_snapshot(
    rollout: Rollout, *, then_rehearse: bool = False, actor: Actor, source: str = "web"
) -> Snapshot:
    """Ask for a snapshot, to be verified as soon as it is taken. Raises Refused.

    With ``then_rehearse`` the watchdog starts a rehearsal from it as soon as it is verified.
    """
    refuse_out_of_reach(rollout)
    with alone_with(rollout):
        snapshot = _asked_for(rollout, actor, source, then_rehearse)
        queue.send_work(snapshot)
    return snapshot


def verify_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Request that an existing dump is restored and compared again. Raises Refused."""
    refuse_out_of_reach(snapshot.rollout)
    with alone_with(snapshot.rollout):
        _refuse_beside_another(snapshot.rollout)
        snapshot.refresh_from_db()
        again: dict[str, Any] = {"attempts": 0, "error": "", "advice": "", "differences": []}
        if not snapshot.sha256 or not move(
            snapshot, SnapshotState.TAKEN, lease_until=leases.grace(), **again
        ):
            raise Refused(f"Snapshot {snapshot.pk} has no dump to verify. Take a new snapshot.")
        activity_log.record(
            Event.VERIFICATION_ASKED_FOR,
            f"Requested verification of snapshot {snapshot.pk}.",
            on=snapshot,
            actor=actor,
            source=source,
        )
        queue.send_work(snapshot)


def make_now(rollout: Rollout, *, actor: Actor, source: str) -> Snapshot:
    """Take and verify a snapshot in this process, for a shell that waits. Raises Refused."""
    with alone_with(rollout):
        snapshot = _asked_for(rollout, actor, source)
    SnapshotJob.carry_out(snapshot.pk, snapshot.token, from_queue=False)
    snapshot.refresh_from_db()
    return snapshot


def cancel_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Stop a running snapshot; an incomplete dump is removed. Raises Refused."""
    with alone_with(snapshot.rollout):
        ask_to_cancel(snapshot)
        activity_log.record(
            Event.SNAPSHOT_CANCEL_ASKED_FOR,
            f"Requested cancellation of snapshot {snapshot.pk}.",
            on=snapshot,
            actor=actor,
            source=source,
        )


def delete_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Remove a snapshot's dump; its record stays. Raises Refused."""
    with alone_with(snapshot.rollout):
        snapshot.refresh_from_db()
        if snapshot.under_way:
            raise Refused(f"Snapshot {snapshot.pk} is still in progress. Wait for it to end.")
        if snapshot.state == SnapshotState.DELETED:
            raise Refused(f"Snapshot {snapshot.pk} is already deleted.")
        _delete(snapshot, actor, source, "Deleted")


def remove_expired() -> None:
    """Delete the snapshots whose retention by their plan has ended."""
    expired = Snapshot.objects.filter(
        # What is deleted is gone: this machine's clock alone may be wrong.
        Q(expires_at__lt=timezone.now()) & Q(expires_at__lt=Now()),
        state__in=SNAPSHOT_ENDED,
    )
    for snapshot in expired.select_related("rollout"):
        try:
            _delete(snapshot, "watchdog", "watchdog", "Deleted expired")
        except Refused as refusal:
            _log.warning("Snapshot %s: %s", snapshot.pk, refusal)


def _asked_for(
    rollout: Rollout, actor: Actor, source: str, then_rehearse: bool = False
) -> Snapshot:
    plan = plan_of(rollout)
    _refuse_beside_another(rollout)
    active = active_run(rollout)
    if active is not None and active.state in WORKING:
        raise Refused(
            f"Phase {active.phase} is {active.get_state_display().lower()}; a snapshot would "
            "delay its locks. Wait for it to end, or pause it."
        )
    snapshot = Snapshot.objects.create(
        rollout=rollout,
        run=gates.newest_runs(rollout).get(newest_phase_begun(rollout)),
        actor_name=actor.get_username(),
        plan_digest=plan.digest,
        lease_until=leases.grace(),
        then_rehearse=then_rehearse,
    )
    rehearsal = " and a rehearsal from it" if then_rehearse else ""
    activity_log.record(
        Event.SNAPSHOT_ASKED_FOR,
        f"Requested snapshot {snapshot.pk}{rehearsal}.",
        on=snapshot,
        actor=actor,
        source=source,
    )
    return snapshot


def _refuse_beside_another(rollout: Rollout) -> None:
    other = Snapshot.objects.filter(rollout=rollout, state__in=SNAPSHOT_UNDER_WAY).first()
    if other is not None:
        raise Refused(
            f"{other.actor_name}'s snapshot {other.pk} is in progress. Wait until it is verified."
        )


def _delete(snapshot: Snapshot, actor: Actor | str, source: str, verb: str) -> None:
    try:
        dump_storage.remove(snapshot.storage_name)
    except OSError as error:
        raise Refused(
            f"Could not delete it from the storage: {error}. Check the storage."
        ) from error
    move(snapshot, SnapshotState.DELETED, deleted_at=timezone.now())
    activity_log.record(
        Event.SNAPSHOT_DELETED,
        f"{verb} snapshot {snapshot.pk}.",
        on=snapshot,
        actor=actor,
        source=source,
    )
