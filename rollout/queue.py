"""The only place that knows the task queue. It delivers ids; the journal decides what they mean."""

from datetime import datetime
from typing import Any

from django.db import DatabaseError
from django_q.tasks import async_task, queue_size

from rollout import journal
from rollout.models import AuditReport, PhaseRun, Rehearsal, Restore, Snapshot


class Unreachable(Exception):
    """The broker did not answer."""


def send(task: str, *arguments: Any) -> None:
    """Queue a function of ``rollout.tasks`` once the surrounding transaction has committed.

    A broker that is away fails nobody: what was to be done is in the journal, and the watchdog
    sends it again.
    """
    journal.on_commit(lambda: async_task(f"rollout.tasks.{task}", *arguments), robust=True)


def send_run(run: PhaseRun) -> None:
    """Have a worker go on with a run. Only the run's present token is accepted."""
    send("advance", run.pk, run.token)


def send_audit(report: AuditReport) -> None:
    """Have a worker make an audit report."""
    send("audit", report.pk, report.token)


def send_snapshot(snapshot: Snapshot) -> None:
    """Have a worker take a snapshot, or go on with it where another worker stopped."""
    send("snapshot", snapshot.pk, snapshot.token)


def send_deliveries(asked_at: datetime) -> None:
    """Have a worker tell receivers what they are to be told."""
    send("deliver", asked_at.isoformat())


def waiting() -> int:
    """How many messages nobody has fetched yet. Raises Unreachable.

    A database that is away is said as that: whoever asks has more to ask of it.
    """
    try:
        return int(queue_size())
    except DatabaseError:
        raise
    except Exception as error:  # whatever the broker's own library raises
        raise Unreachable(str(error)) from error


def send_restore(restore: Restore) -> None:
    """Have a worker put a snapshot back into an environment."""
    send("restore", restore.pk, restore.token)


def send_rehearsal(rehearsal: Rehearsal) -> None:
    """Have a worker go on with a rehearsal."""
    send("rehearse", rehearsal.pk, rehearsal.token)
