"""Starts the rehearsals that were requested with a snapshot, once it is verified."""

from rollout.journal import activity_log
from rollout.journal.actors import Absent, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import alone_with
from rollout.models import SNAPSHOT_ENDED, Snapshot, SnapshotState
from rollout.runner.rehearsals import rehearse
from rollout.watchdog.isolation import isolated


def start_due() -> None:
    """Start each rehearsal that waits, or record why not; a failed snapshot starts none."""
    due = Snapshot.objects.filter(then_rehearse=True, state__in=SNAPSHOT_ENDED)
    for pk in due.values_list("pk", flat=True):
        with isolated(f"The rehearsal after snapshot {pk}"):
            _start(pk)


def _start(pk: int) -> None:
    """In the transaction that ends the wait: a watchdog that dies in between leaves it waiting."""
    snapshot = Snapshot.objects.select_related("rollout").get(pk=pk)
    with alone_with(snapshot.rollout):
        if not Snapshot.objects.filter(pk=pk, then_rehearse=True).update(then_rehearse=False):
            return
        snapshot.refresh_from_db(fields=["state"])
        if snapshot.state != SnapshotState.VERIFIED:
            return  # The activity log and the page of the snapshot say why.
        actor = Absent(snapshot.actor_name)
        try:
            rehearse(snapshot.rollout, snapshot=snapshot, actor=actor, source="watchdog")
        except Refused as refusal:
            activity_log.record(
                Event.REHEARSAL_REFUSED,
                f"The rehearsal requested with snapshot {pk} did not start: {refusal}",
                on=snapshot,
                actor=snapshot.actor_name,
                source="watchdog",
            )
