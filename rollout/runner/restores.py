"""Restores of snapshots as people request them: request, approve, cancel."""

import logging

import psycopg
from django.utils import timezone

from rollout import queue
from rollout.engine.snapshot import failures
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.target import Connection, Target
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused, known_user
from rollout.journal.environments import must_know, protected, target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database, staleness
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of, refuse_out_of_reach
from rollout.journal.transitions import move
from rollout.models import (
    RESTORE_UNDER_WAY,
    Environment,
    Restore,
    RestoreState,
    Rollout,
    Snapshot,
)
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.runner import environments
from rollout.runner.cancellations import ask_to_cancel
from rollout.runner.reasons import reason_of
from rollout.worker import leases
from rollout.worker.restores import (
    FRESH,
    RestoreJob,
    refusal_to_replace,
    refuse_unless_verified,
    replaces_live_data,
)

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
    """Request that a snapshot replaces the plan's tables in an environment.

    Existing tables are replaced only with ``replace``. Into production it waits for another lead's
    approval. Raises Refused.
    """
    with alone_with(into):
        restore = _asked_for(snapshot, into, None, replace, reason, actor, source)
        if restore.state == RestoreState.RUNNING:
            queue.send_work(restore)
    return restore


def restore_now(
    snapshot: Snapshot, into: Rollout, *, replace: bool, reason: str, actor: Actor, source: str
) -> Restore:
    """The same in this process, for a shell that waits; unless it needs an approval."""
    with alone_with(into):
        restore = _asked_for(snapshot, into, None, replace, reason, actor, source)
    if restore.state == RestoreState.RUNNING:
        RestoreJob.carry_out(restore.pk, restore.token, from_queue=False)
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
    """Request a database made from a snapshot, as an environment of its own. Raises Refused.

    With ``now`` it is made in this process.
    """
    refuse_out_of_reach(snapshot.rollout)
    with alone_with(snapshot.rollout):
        refuse_unless_verified(snapshot)
        made = environments.asked_for(snapshot, name, Environment.Purpose.STAGING, actor)
        into, _created = Rollout.objects.get_or_create(
            plan=snapshot.rollout.plan, environment=made.name
        )
        restore = _asked_for(snapshot, into, made, False, "", actor, source)
        if not now:
            queue.send_work(restore)
    if now:
        RestoreJob.carry_out(restore.pk, restore.token, from_queue=False)
        restore.refresh_from_db()
    return restore


def approve_restore(restore: Restore, *, actor: Actor, source: str = "web") -> None:
    """Approve a restore into production. Raises Refused."""
    known_user(actor, "approve a restore")
    with alone_with(restore.rollout):
        restore.refresh_from_db()
        refusal = refusal_to_approve(restore, actor)
        if refusal:
            raise Refused(refusal)
        refuse_unless_verified(restore.snapshot)
        if not move(
            restore,
            RestoreState.RUNNING,
            approver_name=actor.get_username(),
            approved_at=timezone.now(),
            lease_until=leases.grace(),
        ):
            raise Refused("The restore's state has just changed. Reload the page.")
        _record(restore, Event.RESTORE_APPROVED, "Approved the", actor, source)
        queue.send_work(restore)


def refusal_to_approve(restore: Restore, actor: Actor) -> str:
    """Why an actor cannot approve a restore now, and what to do about it; empty if they can."""
    if restore.state != RestoreState.WAITING:
        return "The restore has no approval pending."
    if staleness(restore.created_at, FRESH, "hour", by_the_database()):
        return "The request is more than an hour old. Cancel it and request the restore again."
    if actor.get_username() == restore.actor_name:
        return f"Requested by {restore.actor_name}: a different lead must approve it."
    active = active_run(restore.rollout)
    if active is not None:
        return is_busy(active)
    return refusal_to_replace(restore)


def cancel_restore(restore: Restore, *, actor: Actor, source: str = "web") -> None:
    """Stop a waiting or running restore; nothing has changed then. Raises Refused."""
    with alone_with(restore.rollout):
        restore.refresh_from_db()
        # One that waits for approval is cancelled here and now: no worker has it.
        waited = restore.state == RestoreState.WAITING and move(restore, RestoreState.CANCELLED)
        if not waited:
            ask_to_cancel(restore)
        _record(
            restore, Event.RESTORE_CANCEL_ASKED_FOR, "Requested cancellation of the", actor, source
        )
        if waited:
            _record(restore, Event.RESTORE_CANCELLED, "Cancelled the", actor, source)


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
    if replaces_live_data(into):
        known_user(actor, "replace production with a snapshot")
    reason = reason_of(
        reason,
        shortest=1 if replaces_live_data(into) else 0,
        missing="Give a reason for replacing production with a snapshot: the approver sees it.",
    )
    restore = Restore.objects.create(
        snapshot=snapshot,
        rollout=into,
        environment=made,
        state=RestoreState.WAITING if replaces_live_data(into) else RestoreState.RUNNING,
        actor_name=actor.get_username(),
        reason=reason,
        lease_until=leases.grace(),
    )
    _record(restore, Event.RESTORE_ASKED_FOR, "Requested the", actor, source)
    return restore


def _refuse(snapshot: Snapshot, into: Rollout, made: Environment | None, replace: bool) -> None:
    if snapshot.rollout.plan != into.plan:
        raise Refused(
            f"Snapshot {snapshot.pk} belongs to the plan {snapshot.rollout.plan}, not to "
            f"{into.plan}. Choose another."
        )
    refuse_unless_verified(snapshot)
    active = active_run(into)
    if active is not None:
        raise Refused(is_busy(active))
    other = Restore.objects.filter(rollout=into, state__in=RESTORE_UNDER_WAY).first()
    if other is not None:
        raise Refused(
            f"{other.actor_name}'s restore of snapshot {other.snapshot_id} is in progress there. "
            "Wait for it to end, or cancel it."
        )
    if made is not None:
        return
    must_know(into.plan, into.environment)
    try:
        with target_of(into.environment).connect() as connection:
            _refuse_database(connection, into)
            there = _tables_there(connection, plan_of(into))
    except psycopg.Error as error:
        raise Refused(f"{failures.of_database(error)} Nothing was changed.") from error
    if there and not replace:
        raise Refused(
            f"Tables already exist in {into.environment}: {', '.join(there)}. Confirm that they "
            "may be replaced (in a shell: --yes)."
        )


def _refuse_database(connection: Connection, into: Rollout) -> None:
    """Two environments may be the same database."""
    if replaces_live_data(into):
        return
    own = _identity(connection)
    for name in protected():
        if own == _identity_of(target_of(name)):
            raise Refused(
                f"{into.environment} points to the same database as {name}. Name another database "
                'for it in ROLLOUT["ENVIRONMENTS"].'
            )


def _identity_of(target: Target) -> tuple[object, ...] | None:
    try:
        with target.connect() as connection:
            return _identity(connection)
    except psycopg.OperationalError:
        return None  # Unreachable, so not the one that answers.


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


def _record(restore: Restore, event: Event, verb: str, actor: Actor, source: str) -> None:
    into = restore.rollout.environment
    activity_log.record(
        event,
        f"{verb} restore of snapshot {restore.snapshot_id} into {into}."
        + (f" {restore.reason}" if restore.reason else ""),
        on=restore,
        actor=actor,
        source=source,
    )
