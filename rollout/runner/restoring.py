"""Puts snapshots back into environments, and tells their journal where they stand from then on."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from django.utils import timezone
from psycopg import sql

from rollout import dumps, gates, journal, log, queue
from rollout.engine.control import Control, Interrupted
from rollout.engine.snapshot import problem
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.snapshot.restore import replace_tables
from rollout.engine.target import Connection, Target
from rollout.environments import DEFAULT, configured, must_know, target_of
from rollout.events import Event
from rollout.models import (
    RESTORE_UNDER_WAY,
    RESTORE_WORKING,
    Environment,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
    StepRun,
    StepState,
    Way,
)
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.runner import lease, staging
from rollout.runner.lease import Lease
from rollout.runner.reasons import reason_of
from rollout.runner.snapshots import programs_for, recorded
from rollout.runner.verbs import (
    Actor,
    Refused,
    active_run,
    alone_with,
    is_busy,
    known_user,
    plan_of,
    refuse_out_of_reach,
)

_ENDED = {
    RestoreState.FAILED: Event.RESTORE_FAILED,
    RestoreState.CANCELLED: Event.RESTORE_CANCELLED,
}
MOST_ATTEMPTS = 3
FRESH = timedelta(hours=1)
"""So young is to be the snapshot of production that one is restored over, and so long an approval
may be waited for."""

_log = logging.getLogger(__name__)


def restore_snapshot(
    snapshot: Snapshot,
    into: Rollout,
    *,
    replace: bool,
    reason: str = "",
    actor: Actor,
    source: str = "web",
) -> Restore:
    """Ask for a snapshot to be put in place of the plan's tables in an environment.

    Tables that are there already are replaced only with ``replace``. Into production it waits for
    another lead's approval. Raises Refused.
    """
    with alone_with(into):
        restore = _asked_for(snapshot, into, None, replace, reason, actor, source)
        if restore.state == RestoreState.RUNNING:
            queue.send_restore(restore)
    return restore


def restore_now(
    snapshot: Snapshot, into: Rollout, *, replace: bool, reason: str, actor: Actor, source: str
) -> Restore:
    """The same in this process, for a shell that waits; unless it is to be approved first."""
    with alone_with(into):
        restore = _asked_for(snapshot, into, None, replace, reason, actor, source)
    if restore.state == RestoreState.RUNNING:
        carry_out(restore.pk, restore.token, from_queue=False)
        restore.refresh_from_db()
    return restore


def make_staging(
    snapshot: Snapshot,
    *,
    name: str = "",
    actor: Actor,
    source: str = "web",
    now: bool = False,
) -> Restore:
    """Ask for a database made from a snapshot, to be an environment of its own. Raises Refused.

    With ``now`` it is made in this process.
    """
    refuse_out_of_reach(snapshot.rollout)
    with alone_with(snapshot.rollout):
        refuse_unless_verified(snapshot)
        made = staging.asked_for(snapshot, name, Environment.Purpose.STAGING, actor)
        into, _created = Rollout.objects.get_or_create(
            plan=snapshot.rollout.plan, environment=made.name
        )
        restore = _asked_for(snapshot, into, made, False, "", actor, source)
        if not now:
            queue.send_restore(restore)
    if now:
        carry_out(restore.pk, restore.token, from_queue=False)
        restore.refresh_from_db()
    return restore


def approve_restore(restore: Restore, *, actor: Actor, source: str = "web") -> None:
    """Let a snapshot that waits for it be put into production. Raises Refused."""
    known_user(actor, "approve a restore")
    with alone_with(restore.rollout):
        restore.refresh_from_db()
        refusal = why_not_approve(restore, actor)
        if refusal:
            raise Refused(refusal)
        refuse_unless_verified(restore.snapshot)
        changed = Restore.objects.filter(pk=restore.pk, state=RestoreState.WAITING).update(
            state=RestoreState.RUNNING,
            approver_name=actor.get_username(),
            approved_at=timezone.now(),
            lease_until=lease.grace(),
        )
        if not changed:
            raise Refused("Its state has just changed. Look at the page again.")
        restore.refresh_from_db()
        _record(restore, Event.RESTORE_APPROVED, "Approved", actor.get_username(), source)
        queue.send_restore(restore)


def why_not_approve(restore: Restore, actor: Actor) -> str:
    """Why somebody cannot approve a restore now, with what to do about it; empty where they can."""
    if restore.state != RestoreState.WAITING:
        return "It waits for no approval."
    if timezone.now() - restore.created_at > FRESH:
        return "It has waited for more than an hour. Cancel it and ask again."
    if actor.get_username() == restore.actor_name:
        return f"{restore.actor_name} asked for it, so another lead is to approve it."
    active = active_run(restore.rollout)
    if active is not None:
        return is_busy(active)
    return _why_not_fresh(restore)


def cancel_restore(restore: Restore, *, actor: Actor, source: str = "web") -> None:
    """Stop a restore that waits or is under way; nothing has changed then. Raises Refused."""
    with alone_with(restore.rollout):
        mine = Restore.objects.filter(pk=restore.pk)
        # One that waits for approval is cancelled here and now: no worker has it.
        waited = mine.filter(state=RestoreState.WAITING).update(
            state=RestoreState.CANCELLED, finished_at=timezone.now()
        )
        if not waited and not mine.filter(state=RestoreState.RUNNING).update(
            state=RestoreState.CANCELLING
        ):
            restore.refresh_from_db()
            if restore.state == RestoreState.CANCELLING:
                raise Refused(f"Restore {restore.pk} is being cancelled. Wait until it stops.")
            raise Refused("It is not under way any more: there is nothing to cancel.")
        restore.refresh_from_db()
        name = actor.get_username()
        _record(restore, Event.RESTORE_CANCEL_ASKED_FOR, "Asked to cancel the", name, source)
        if waited:
            _record(restore, Event.RESTORE_CANCELLED, "Cancelled the", name, source)


def carry_out(restore_id: int, token: int, *, from_queue: bool = True) -> None:
    """Put a snapshot back, if the token is still the newest one."""
    restore = (
        Restore.objects.select_related("snapshot__rollout", "rollout", "environment")
        .filter(pk=restore_id, state__in=RESTORE_WORKING)
        .first()
    )
    if restore is None or not lease.claim(restore, token):
        return
    with Lease(restore, on_wait=lambda _reason: None, from_queue=from_queue) as held:
        work = _Work(restore, held)
        try:
            work.carry_on()
        except Interrupted:
            work.stopped()
        except (Refused, SnapshotError) as error:
            work.fail(str(error), getattr(error, "advice", ""))
        except psycopg.Error as error:
            if held.lost or held.asked_to:
                work.stopped()
                return
            meant = problem.of_database(error)
            work.fail(f"{meant} Nothing was changed.", meant.advice)
        except Exception as error:
            _log.exception("Restore %s", restore.pk)
            work.fail(
                f"{type(error).__name__}: {error}", "Look at the worker's log, then try again."
            )


class _Work:
    """A worker's work on one restore. Every write of it is fenced by the lease's token."""

    def __init__(self, restore: Restore, held: Lease) -> None:
        self.restore = restore
        self.held = held
        self.token = restore.token

    def carry_on(self) -> None:
        restore = self.restore
        if restore.state == RestoreState.CANCELLING:
            raise Interrupted("It was cancelled before a worker began with it.")
        self._write(attempts=restore.attempts + 1, started_at=restore.started_at or timezone.now())
        if restore.attempts > MOST_ATTEMPTS:
            raise SnapshotError(
                f"{MOST_ATTEMPTS} workers died while they were at it.",
                "Look whether their machine runs out of memory or disk, then try again.",
            )
        active = active_run(restore.rollout)
        if active is not None:
            raise Refused(is_busy(active))
        refuse_unless_verified(restore.snapshot)
        if is_production(restore.rollout) and (refusal := _why_not_fresh(restore)):
            raise Refused(refusal)
        target = self._target()
        self._tell("Reading the dump through.")
        put_back(restore.snapshot, restore.rollout, target, self.held, tell=self._tell)
        note(
            restore.snapshot,
            restore.rollout,
            actor=restore.actor_name,
            source="worker",
            done=self._done,
        )

    def _target(self) -> Target:
        made = self.restore.environment
        if made is None:
            return target_of(self.restore.rollout.environment)
        self._tell(f"Making the database {made.database}.")
        return staging.make(made)

    def _tell(self, doing: str) -> None:
        self._write(doing=doing)

    def _done(self) -> None:
        self._write(state=RestoreState.DONE, finished_at=timezone.now(), doing="")
        if self.restore.environment is not None:
            staging.is_ready(self.restore.environment)

    def fail(self, error: str, advice: str) -> None:
        self._end(RestoreState.FAILED, error, advice)

    def stopped(self) -> None:
        """It was cancelled, or is another worker's now."""
        mine = Restore.objects.filter(pk=self.restore.pk, token=self.token)
        if mine.filter(state=RestoreState.CANCELLING).exists():
            self._end(RestoreState.CANCELLED, "It was cancelled. Nothing was changed.", "")

    def _end(self, state: RestoreState, error: str, advice: str) -> None:
        try:
            self.held.check()
        except Interrupted:
            if self.held.lost:
                return
        made = self.restore.environment
        if made is not None:
            staging.drop(made)
        with journal.atomic():
            mine = Restore.objects.filter(pk=self.restore.pk, token=self.token)
            if not mine.update(
                state=state, error=error, advice=advice, doing="", finished_at=timezone.now()
            ):
                return
            self.restore.refresh_from_db()
            log.record(
                _ENDED[state],
                f"Restore {self.restore.pk}: {error} {advice}".strip(),
                actor=log.last_actor(
                    Event.RESTORE_CANCEL_ASKED_FOR,
                    rollout=self.restore.rollout,
                    restore=self.restore.pk,
                )
                if state == RestoreState.CANCELLED
                else self.restore.actor_name,
                source="worker",
                rollout=self.restore.rollout,
                data={"restore": self.restore.pk, "snapshot": self.restore.snapshot_id},
            )

    def _write(self, **fields: Any) -> None:
        """Raises Interrupted where it was cancelled, or is another worker's by now."""
        for name, value in fields.items():
            setattr(self.restore, name, value)
        mine = Restore.objects.filter(
            pk=self.restore.pk, token=self.token, state=RestoreState.RUNNING
        )
        changed = {name: value for name, value in fields.items() if name != "state"}
        if "state" in fields:
            changed["state"] = fields["state"]
        if not mine.update(**changed):
            raise Interrupted("It was cancelled, or another worker has taken it over.")


def put_back(
    snapshot: Snapshot, into: Rollout, target: Target, control: Control, *, tell: Any
) -> None:
    """Put a snapshot in place of a plan's tables, all in one transaction, and gather statistics.

    Raises Refused, SnapshotError, Interrupted and psycopg.Error; nothing has changed then.
    """
    plan = plan_of(into)
    stored = dumps.measured(snapshot.storage_name, check=control.check)
    if stored.sha256 != snapshot.sha256:
        raise Refused("Its dump is not what was written. Take another snapshot.")
    with target.connect() as connection:
        tell(f"Restoring {sum(snapshot.counts.values()):,} rows.")
        archive = Archive(
            programs_for(connection), partial(dumps.open_dump, snapshot.storage_name), control
        )
        replace_tables(connection, plan, archive, recorded(snapshot), control)
        tell("Gathering statistics.")
        for relation in relations_of(connection, plan):
            # As tables are that have been in use: hint bits set, statistics there.
            if relation.kind == "r":
                connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(relation.identifier))


def is_production(rollout: Rollout) -> bool:
    return rollout.environment == DEFAULT


def refuse_unless_verified(snapshot: Snapshot) -> None:
    """Raises Refused."""
    if snapshot.state != SnapshotState.VERIFIED:
        raise Refused(
            f"Snapshot {snapshot.pk} is {snapshot.get_state_display().lower()}. Only a verified "
            "one is restored: verify it, or take another."
        )


def _asked_for(
    snapshot: Snapshot,
    into: Rollout,
    made: Environment | None,
    replace: bool,
    reason: str,
    actor: Actor,
    source: str,
) -> Restore:
    _refuse(snapshot, into, made, replace)
    if is_production(into):
        known_user(actor, "have production replaced by a snapshot")
    reason = reason_of(
        reason,
        shortest=1 if is_production(into) else 0,
        missing="Say why production is to be replaced by a snapshot: the lead who is to approve it "
        "reads that.",
    )
    restore = Restore.objects.create(
        snapshot=snapshot,
        rollout=into,
        environment=made,
        state=RestoreState.WAITING if is_production(into) else RestoreState.RUNNING,
        actor_name=actor.get_username(),
        reason=reason,
        lease_until=lease.grace(),
    )
    _record(restore, Event.RESTORE_ASKED_FOR, "Asked for", actor.get_username(), source)
    return restore


def _refuse(snapshot: Snapshot, into: Rollout, made: Environment | None, replace: bool) -> None:
    if snapshot.rollout.plan != into.plan:
        raise Refused(f"Snapshot {snapshot.pk} is of {snapshot.rollout.plan}, not of {into.plan}.")
    refuse_unless_verified(snapshot)
    active = active_run(into)
    if active is not None:
        raise Refused(is_busy(active))
    other = Restore.objects.filter(rollout=into, state__in=RESTORE_UNDER_WAY).first()
    if other is not None:
        raise Refused(
            f"{other.actor_name}'s restore of snapshot {other.snapshot_id} is under way there. "
            "Wait for its end, or cancel it."
        )
    if made is not None:
        return
    must_know(into.plan, into.environment)
    try:
        with target_of(into.environment).connect() as connection:
            _refuse_database(connection, into)
            there = _tables_there(connection, plan_of(into))
    except psycopg.Error as error:
        raise Refused(f"{problem.of_database(error)} Nothing was changed.") from error
    if there and not replace:
        raise Refused(
            f"{into.environment} has {', '.join(there)} already. Say that they are to be "
            "replaced: --yes."
        )


def _why_not_fresh(restore: Restore) -> str:
    """Production is replaced only when what it holds now can be had back."""
    newest = Snapshot.objects.filter(
        rollout=restore.rollout, state=SnapshotState.VERIFIED, taken_at__isnull=False
    ).order_by("-taken_at")
    fresh = newest.exclude(pk=restore.snapshot_id).first()
    now = timezone.now()
    if fresh is None or fresh.taken_at is None or now - fresh.taken_at > FRESH:
        return (
            "There is no verified snapshot of what production holds now, younger than an hour. "
            "Take one first, so that the restore can be undone."
        )
    last = (
        PhaseRun.objects.filter(rollout=restore.rollout, finished_at__isnull=False)
        .order_by("-finished_at")
        .first()
    )
    if last is not None and last.finished_at is not None and last.finished_at > fresh.taken_at:
        return (
            f"Snapshot {fresh.pk} is older than the end of phase {last.phase}. Take another one "
            "of what production holds now first."
        )
    return ""


def _refuse_database(connection: Connection, into: Rollout) -> None:
    """An environment whose name is another may still be the same database."""
    if is_production(into) or DEFAULT not in configured():
        return
    if _identity(connection) == _identity_of(target_of(DEFAULT)):
        raise Refused(
            f"{into.environment} is the very database of {DEFAULT}. Name another database for it "
            'in ROLLOUT["ENVIRONMENTS"].'
        )


def _identity_of(target: Target) -> tuple[object, ...] | None:
    try:
        with target.connect() as connection:
            return _identity(connection)
    except psycopg.OperationalError:
        return None  # It is away, so it is not the one that answers.


def _identity(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(
        "SELECT d.oid, d.datname, pg_postmaster_start_time(), system_identifier"
        " FROM pg_database AS d, pg_control_system() WHERE d.datname = current_database()"
    ).fetchone()


def _tables_there(connection: Connection, plan: Plan) -> list[str]:
    return [
        relation.label
        for relation in relations_of(connection, plan)
        if relation.schema != SCHEMA and relation.kind in "rp"
    ]


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
        runs = gates.newest_runs(into)
        for number, was in enumerate(snapshot.phases):
            run = runs.get(number)
            if was == "done" and not gates.is_done(run):
                _run(into, number, Way.FORWARD, RunState.DONE, snapshot, actor)
            elif was == "untouched" and not gates.is_untouched(run):
                _run(into, number, Way.BACKWARD, RunState.DONE, snapshot, actor)
            elif was == "begun":
                _run(into, number, Way.FORWARD, RunState.CANCELLED, snapshot, actor)
        log.record(
            Event.SNAPSHOT_RESTORED,
            f"Restored snapshot {snapshot.pk} of {snapshot.rollout.environment}: "
            f"{sum(snapshot.counts.values()):,} rows in {len(snapshot.counts)} tables.",
            actor=actor,
            source=source,
            rollout=into,
            data={"snapshot": snapshot.pk, "sha256": snapshot.sha256, "phases": snapshot.phases},
        )


def _run(
    into: Rollout, number: int, way: Way, state: RunState, snapshot: Snapshot, actor: str
) -> None:
    now = timezone.now()
    half = state == RunState.CANCELLED
    run = PhaseRun.objects.create(
        rollout=into,
        phase=number,
        way=way,
        state=state,
        actor_name=actor,
        plan_digest=snapshot.plan_digest,
        started_at=now,
        finished_at=now,
        error=f"Snapshot {snapshot.pk} was taken in the middle of this phase." if half else "",
        advice="Retry the phase, or roll it back." if half else "",
    )
    if way == Way.BACKWARD:
        return
    # A rollback undoes the steps that were begun; a retry asks the catalog for each anew.
    StepRun.objects.bulk_create(
        StepRun(
            run=run,
            step=step.id,
            position=position,
            state=StepState.FAILED if half else StepState.DONE,
            attempts=1,
            started_at=now,
            finished_at=now,
            result="" if half else f"Restored with snapshot {snapshot.pk}.",
            checksum="" if half else step.checksum,
        )
        for position, step in enumerate(plan_of(into).phases[number].steps)
    )


def _record(restore: Restore, event: Event, verb: str, actor: str, source: str) -> None:
    into = restore.rollout.environment
    log.record(
        event,
        f"{verb} restore of snapshot {restore.snapshot_id} into {into}."
        + (f" {restore.reason}" if restore.reason else ""),
        actor=actor,
        source=source,
        rollout=restore.rollout,
        data={"restore": restore.pk, "snapshot": restore.snapshot_id},
    )
