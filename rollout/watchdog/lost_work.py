"""Brings back the work of workers that died: queues again what nobody has been heard of with."""

from collections.abc import Callable
from typing import TypeVar

from django.db.models import QuerySet

from rollout import queue
from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.journal.rollouts import sentence_name_of
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    RESTORE_WORKING,
    SNAPSHOT_UNDER_WAY,
    WORKING,
    AuditReport,
    AuditStatus,
    PhaseRun,
    Rehearsal,
    Restore,
    Snapshot,
)
from rollout.watchdog.isolation import isolated
from rollout.worker.leases import SECONDS, run_out, take_back

_Work = TypeVar("_Work", PhaseRun, AuditReport, Snapshot, Restore, Rehearsal)

_KEYS: dict[type, str] = {
    AuditReport: "audit",
    Snapshot: "snapshot",
    Restore: "restore",
    Rehearsal: "rehearsal",
}
"""What the log's entries call each kind of work."""


def recover_runs() -> None:
    """Runs of phases and repairs."""
    _recover(PhaseRun.objects.filter(state__in=WORKING), queue.send_run)


def recover_audits() -> None:
    """Audits that somebody or the schedule asked for; those of a phase come back with its run."""
    _recover(AuditReport.objects.filter(status=AuditStatus.RUNNING, run=None), queue.send_audit)


def recover_snapshots() -> None:
    """Snapshots that are taken or verified."""
    _recover(Snapshot.objects.filter(state__in=SNAPSHOT_UNDER_WAY), queue.send_snapshot)


def recover_restores() -> None:
    """Snapshots that are put back."""
    _recover(Restore.objects.filter(state__in=RESTORE_WORKING), queue.send_restore)


def recover_rehearsals() -> None:
    """Rehearsals."""
    _recover(Rehearsal.objects.filter(state__in=REHEARSAL_UNDER_WAY), queue.send_rehearsal)


def _recover(works: QuerySet[_Work], send: Callable[[_Work], None]) -> None:
    """Queue again what nobody has been working on for longer than a lease."""
    for work in works.filter(run_out()).select_related("rollout"):
        with isolated(f"Bringing back {work}"):
            dead = work.worker
            if take_back(work):
                send(work)
                if dead:
                    _record(work, dead)


def _record(work: _Work, dead: str) -> None:
    if isinstance(work, PhaseRun):
        key, name = "run", sentence_name_of(work)
        phase: int | None = work.phase
    else:
        key = _KEYS[type(work)]
        name, phase = f"{key.capitalize()} {work.pk}", None
    activity_log.record(
        Event.BROUGHT_BACK,
        f"{name} goes on with another worker: {dead} has not been heard of for {SECONDS} s.",
        actor="watchdog",
        source="watchdog",
        rollout=work.rollout,
        phase=phase,
        data={key: work.pk, "worker": dead},
    )
