"""Rows that leave the quarantine of a job: written by a retry, or right by other means."""

from django.utils.module_loading import import_string

from rollout import journal
from rollout.engine import lane_totals, quarantine
from rollout.engine.control import Control, NullControl
from rollout.engine.retries import retry_row
from rollout.engine.target import Connection, own_transaction
from rollout.models import BackfillJob
from rollout.plan.actions import Compute, Fill
from rollout.plan.tasks import Task


def retry_quarantined(
    connection: Connection,
    action: Fill | Compute,
    job: BackfillJob,
    control: Control | None = None,
) -> int:
    """Retry every row in quarantine, each in a transaction; how many were written.

    What the journal counts of a job that has ended follows by ``follow_quarantine``.
    """
    control = control or NullControl()
    function = import_string(action.function) if isinstance(action, Compute) else None
    written = 0
    for row in quarantine.rows(connection, job.pk, limit=None):
        control.raise_if_stopped()
        with connection.transaction() if isinstance(action, Task) else own_transaction(connection):
            # A concurrent retry may have written and counted it.
            if quarantine.lock(connection, job.pk, row.key) and retry_row(
                connection, action, job.pk, row.key, function=function
            ):
                written += 1
                quarantine.release(connection, job.pk, row.key)
                lane_totals.move_from_quarantine(connection, job.pk, updated=True)
    return written


def follow_quarantine(connection: Connection, job: BackfillJob) -> int:
    """Count the refused rows of a job that has ended as its database does; how many are written
    since they were counted last.

    The rows are committed first: who dies before they are counted leaves that to the next.
    """
    with journal.atomic():
        counted = BackfillJob.objects.select_for_update().get(pk=job.pk)
        job.quarantined = quarantine.count(connection, job.pk)
        written = counted.quarantined - job.quarantined
        job.updated = counted.updated + written
        job.save(update_fields=["quarantined", "updated"])
    return written


def release_right(connection: Connection, fill: Fill, job: BackfillJob) -> None:
    """Let those rows of a fill's quarantine go that are right by now: others wrote them, or people
    decided that they stay empty. The fill updated none of them."""
    for row in quarantine.rows(connection, job.pk, limit=None):
        with own_transaction(connection):
            if quarantine.lock(connection, job.pk, row.key) and quarantine.is_right(
                connection, fill.guarded, row.key
            ):
                quarantine.release(connection, job.pk, row.key)
                lane_totals.move_from_quarantine(connection, job.pk, updated=False)
    BackfillJob.objects.filter(pk=job.pk).update(quarantined=quarantine.count(connection, job.pk))
