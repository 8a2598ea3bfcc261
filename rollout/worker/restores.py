"""Restores a snapshot in place of a plan's tables."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import psycopg
from django.utils import timezone
from psycopg import sql

from rollout import gates
from rollout.engine import fences
from rollout.engine.control import Control, Interrupted
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.restore import replace_tables
from rollout.engine.target import Target
from rollout.journal import activity_log, scheduled_starts
from rollout.journal.actors import Refused
from rollout.journal.environments import is_protected, target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database, staleness
from rollout.journal.recorded_runs import record_run
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of
from rollout.journal.snapshots import programs_for
from rollout.logs.texts import counted
from rollout.models import (
    RESTORE_WORKING,
    Direction,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.worker import databases, dump_storage
from rollout.worker.failures import connection_lost
from rollout.worker.leased_jobs import AttemptedJob
from rollout.worker.snapshots import recorded

_log = logging.getLogger(__name__)


# Maximum age of the fallback snapshot before production is replaced, and of an approval's request.
FRESH = timedelta(hours=1)


class RestoreJob(AttemptedJob[Restore]):
    """Restores a snapshot, if need be into a database that it creates first."""

    model = Restore
    working = RESTORE_WORKING
    related = ("snapshot__rollout", "rollout", "environment")
    expected_errors = (Refused, SnapshotError)
    ends: ClassVar = {
        RestoreState.FAILED: Event.RESTORE_FAILED,
        RestoreState.CANCELLED: Event.RESTORE_CANCELLED,
    }
    cancel_asked = Event.RESTORE_CANCEL_ASKED_FOR

    def __init__(self, restore: Restore) -> None:
        super().__init__(restore)
        self.restore = restore

    @property
    def may_be_committed(self) -> bool:
        """Whether the tables of an environment may have been replaced already."""
        return self.restore.transaction is not None and self.restore.environment is None

    def work(self) -> bool:
        restore = self.restore
        restore.started_at = restore.started_at or timezone.now()
        self.count_attempt(started_at=restore.started_at)
        self._refuse_more_attempts()
        if self._is_committed():
            # Replacing the tables again would lose what was written since.
            self._note()
            return True
        if restore.state == RestoreState.CANCELLING:
            raise Interrupted("Cancelled before a worker started it.")
        active = active_run(restore.rollout)
        if active is not None:
            raise Refused(is_busy(active))
        refuse_unless_verified(restore.snapshot)
        if replaces_live_data(restore.rollout) and (refusal := refusal_to_replace(restore)):
            raise Refused(refusal)
        target = self._target()
        self.tell("Verifying the dump.")
        put_back(
            restore.snapshot,
            restore.rollout,
            target,
            self.lease,
            tell=self.tell,
            committing=lambda transaction: self.write(transaction=transaction),
        )
        self._note()
        try:
            gather_statistics(restore.rollout, target)
        except psycopg.Error as error:
            # Autovacuum makes up for it.
            _log.warning("Statistics after restore %s: %s", restore.pk, str(error).strip())

        return True

    def _refuse_more_attempts(self) -> None:
        if self.may_be_committed and self.restore.attempts > self.max_attempts:
            raise SnapshotError(
                f"{self.max_attempts} workers crashed or lost the database during the restore. "
                "Whether the tables were replaced is unknown.",
                "Compare them with the snapshot, then restore again or leave them.",
            )
        self.refuse_more_attempts()

    def is_left_open_by(self, error: Exception) -> bool:
        """Its next worker asks the server what became of its transaction."""
        cut_off = not isinstance(error, psycopg.Error) or connection_lost(error)
        return self.may_be_committed and cut_off

    def explained(self, error: Exception) -> tuple[str, str]:
        message, advice = super().explained(error)
        if isinstance(error, psycopg.Error | OSError):
            message = f"{message} Nothing was changed."
        return message, advice

    def when_cancelled(self) -> tuple[str, str]:
        return "Cancelled. Nothing was changed.", ""

    def cleared_up(self, state: str, advice: str) -> dict[str, Any]:
        """Drop the database that was created for it."""
        if self.restore.environment is not None:
            databases.drop(self.restore.environment)
        return {}

    def _is_committed(self) -> bool:
        """Whether a worker that was cut off had replaced the tables; the server knows."""
        if not self.may_be_committed:
            return False
        with target_of(self.restore.rollout.environment).connect() as connection:
            fences.take_over(connection, self.restore.rollout.plan, self.lease)
            row = connection.execute(
                "SELECT pg_xact_status(%s::text::xid8)", [self.restore.transaction]
            ).fetchone()
        if row is not None and row[0] == "committed":
            return True
        self.restore.transaction = None
        self.mine(*self.working).update(transaction=None)
        return False

    def _note(self) -> None:
        note(
            self.restore.snapshot,
            self.restore.rollout,
            actor=self.restore.actor_name,
            source="worker",
            done=self._done,
        )

    def _target(self) -> Target:
        made = self.restore.environment
        if made is None:
            return target_of(self.restore.rollout.environment)
        self.tell(f"Creating the database {made.database}.")
        return databases.make(made)

    def _done(self) -> None:
        """Mark it as done, even if it was cancelled after the tables were replaced."""
        self.write(RestoreState.DONE, activity="")
        if self.restore.environment is not None:
            databases.is_ready(self.restore.environment)


def put_back(
    snapshot: Snapshot,
    into: Rollout,
    target: Target,
    control: Control,
    *,
    tell: Callable[[str], None],
    committing: Callable[[int], None] = lambda _transaction: None,
) -> None:
    """Put a snapshot in place of a plan's tables, all in one transaction.

    ``committing`` gets its number at the very end. Raises Refused, SnapshotError, Interrupted and
    psycopg.Error; nothing has changed then, unless the connection was lost after that.
    """
    plan = plan_of(into)
    stored = dump_storage.measured(snapshot.storage_name, check=control.raise_if_stopped)
    if stored.sha256 != snapshot.sha256:
        raise Refused("The dump's checksum does not match. Take a new snapshot.")
    with target.connect() as connection:
        tell(f"Restoring {counted(sum(snapshot.counts.values()), 'row')}.")
        archive = Archive(
            programs_for(connection),
            partial(dump_storage.open_dump, snapshot.storage_name),
            control,
        )
        replace_tables(
            connection, plan, archive, recorded(snapshot), control, committing=committing
        )


def gather_statistics(into: Rollout, target: Target) -> None:
    """Do for restored tables what autovacuum would do later. Raises psycopg.Error."""
    with target.connect() as connection:
        for relation in relations_of(connection, plan_of(into)):
            # As tables are that have been in use: hint bits set, statistics there.
            if relation.kind == "r":
                connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(relation.identifier))


def replaces_live_data(rollout: Rollout) -> bool:
    return is_protected(rollout.environment)


def refuse_unless_verified(snapshot: Snapshot) -> None:
    """Raises Refused."""
    if snapshot.state != SnapshotState.VERIFIED:
        raise Refused(
            f"Snapshot {snapshot.pk} is {snapshot.get_state_display().lower()}. Only a verified "
            "snapshot can be restored: verify it, or take a new one."
        )


def refusal_to_replace(restore: Restore) -> str:
    """Why production may not be replaced: what it holds now could not be restored."""
    newest = Snapshot.objects.filter(
        rollout=restore.rollout, state=SnapshotState.VERIFIED, taken_at__isnull=False
    ).order_by("-taken_at")
    fresh = newest.exclude(pk=restore.snapshot_id).first()
    if (
        fresh is None
        or fresh.taken_at is None
        or staleness(fresh.taken_at, FRESH, "hour", by_the_database())
    ):
        return (
            "There is no verified snapshot of production from the last hour. Take one first, so "
            "that the restore can be undone."
        )
    last = (
        PhaseRun.objects.filter(rollout=restore.rollout, finished_at__isnull=False)
        .order_by("-finished_at")
        .first()
    )
    if last is not None and last.finished_at is not None and last.finished_at > fresh.taken_at:
        return (
            f"Snapshot {fresh.pk} is older than the end of phase {last.phase}. Take a fresh "
            "snapshot of production first."
        )
    return ""


def _nothing_more() -> None:
    pass


def note(
    snapshot: Snapshot,
    into: Rollout,
    *,
    actor: str,
    source: str,
    done: Any = _nothing_more,
) -> None:
    """Write down where the environment stands now: as the snapshot's did when it was taken.

    ``done`` writes in the same transaction.
    """
    with alone_with(into):
        done()
        # It was planned for the data that is gone.
        scheduled_starts.cancel(
            into, f"restored snapshot {snapshot.pk}", actor=actor, source=source
        )
        runs = gates.newest_runs(into)
        for number, was in enumerate(snapshot.phases):
            run = runs.get(number)
            if was == "done" and not gates.is_done(run):
                _record(into, number, Direction.FORWARD, snapshot, actor, source)
            elif was == "untouched" and not gates.is_not_started(run):
                _record(into, number, Direction.BACKWARD, snapshot, actor, source)
            elif was == "begun":
                why = f"Snapshot {snapshot.pk} was taken during this phase."
                _record(into, number, Direction.FORWARD, snapshot, actor, source, why)
        activity_log.record(
            Event.SNAPSHOT_RESTORED,
            f"Restored snapshot {snapshot.pk} of {snapshot.rollout.environment}: "
            f"{counted(sum(snapshot.counts.values()), 'row')} in "
            f"{counted(len(snapshot.counts), 'table')}.",
            on=into,
            actor=actor,
            source=source,
            snapshot=snapshot.pk,
            sha256=snapshot.sha256,
            phases=snapshot.phases,
        )


def _record(
    into: Rollout,
    number: int,
    direction: Direction,
    snapshot: Snapshot,
    actor: str,
    source: str,
    why: str = "",
) -> None:
    # A rollback undoes the started steps; a retry asks the catalog for each again.
    is_back = direction == Direction.BACKWARD
    record_run(
        into,
        number,
        direction,
        steps=() if is_back else plan_of(into).phases[number].steps,
        result=lambda step: f"Restored with snapshot {snapshot.pk}.",
        actor_name=actor,
        source=source,
        plan_digest=snapshot.plan_digest,
        interrupted=why,
    )
