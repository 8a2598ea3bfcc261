"""Rehearsals as people request them: start, cancel, drop the database.

A rehearsal is a run of its own kind: its phases are started one after the other by the worker that
holds it, without gates, approvals, soak or windows, which all protect people and data that this
database does not have. Everything else is as in production: the same steps, journal, queue and
workers.
"""

import logging
from collections.abc import Sequence
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured

from rollout import queue
from rollout.engine.preflight import Item, load
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import (
    target_of,
    target_of_server,
)
from rollout.journal.events import Event
from rollout.journal.labels import check_label
from rollout.journal.rehearsal_servers import SETTING, rehearsal_server
from rollout.journal.rollouts import active_run, alone_with, plan_of, refuse_out_of_reach
from rollout.journal.snapshots import newest_verified
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    Environment,
    Rehearsal,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
)
from rollout.plan.plan import CONTRACT
from rollout.runner import environments, phases
from rollout.runner.cancellations import ask_to_cancel
from rollout.worker import leases

# Copies of the plan's tables: the rehearsal's, and those to compare with at the end.
COPIES = 2
CONNECT_SECONDS = 5

_log = logging.getLogger(__name__)


class UnderLoad(Refused):
    """The server that a rehearsal would share is under load; people may override that."""

    def __init__(self, items: list[Item]) -> None:
        evidence = " ".join(f"{check_label(item.name)}: {item.sentence}" for item in items)
        super().__init__(
            "The rehearsal would share CPU and disk with the application, and the server is under "
            f"load. {evidence} Wait for the load to drop, name another server in {SETTING}, or "
            "rehearse anyway."
        )
        self.items = items


def _without_snapshot(rollout: Rollout) -> str:
    states = (SnapshotState.TAKING, SnapshotState.VERIFYING)
    taking = Snapshot.objects.filter(rollout=rollout, state__in=states).first()
    if taking is None:
        return "A rehearsal requires a verified snapshot. Take one first."
    then = "starts from it automatically" if taking.then_rehearse else "can start from it then"
    return f"Snapshot {taking.pk} is being taken and verified. A rehearsal {then}."


def refusal_to_rehearse(rollout: Rollout, snapshot: Snapshot | None) -> str:
    """Why a rollout cannot be rehearsed now, and what to do about it; empty if it can."""
    under_way = Rehearsal.objects.filter(rollout=rollout, state__in=REHEARSAL_UNDER_WAY).first()
    if under_way is not None:
        return (
            f"{under_way.actor_name}'s rehearsal {under_way.pk} is running. Wait for it to end, or "
            "cancel it."
        )
    if snapshot is None:
        return _without_snapshot(rollout)
    if snapshot.state != SnapshotState.VERIFIED:
        return f"Snapshot {snapshot.pk} is not verified. Verify it, or take another."
    if "begun" in snapshot.phases:
        return (
            f"Snapshot {snapshot.pk} was taken during a phase. Finish the phase, then take a new "
            "snapshot."
        )
    if snapshot.next_phase > CONTRACT:
        return f"Snapshot {snapshot.pk} already has every phase applied. Choose an older one."
    return ""


def rehearse(
    rollout: Rollout,
    *,
    snapshot: Snapshot | None = None,
    keep: bool = False,
    anyway: bool = False,
    actor: Actor,
    source: str = "web",
) -> Rehearsal:
    """Request a rehearsal from a snapshot, by default the newest verified one.

    The database of an earlier failed one is dropped, unless somebody asked to keep it. On
    production's server it starts ``anyway`` under load. Raises Refused, and its subclass UnderLoad.
    """
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    server, load = _server_for(rollout, snapshot, anyway=anyway)
    with alone_with(rollout):
        snapshot = snapshot or newest_verified(rollout)
        refusal = refusal_to_rehearse(rollout, snapshot)
        if refusal:
            raise Refused(refusal)
        assert snapshot is not None
        if snapshot.rollout_id != rollout.pk:
            raise Refused(f"Snapshot {snapshot.pk} belongs to {snapshot.rollout}. Choose another.")
        number = Rehearsal.objects.filter(rollout=rollout).count() + 1
        made = environments.asked_for(
            snapshot, _free_name(number), Environment.Purpose.REHEARSAL, actor, server=server
        )
        sandbox = Rollout.objects.create(plan=rollout.plan, environment=made.name)
        rehearsal = Rehearsal.objects.create(
            rollout=rollout,
            snapshot=snapshot,
            environment=made,
            sandbox=sandbox,
            actor_name=actor.get_username(),
            plan_digest=plan.digest,
            keep_database=keep,
            first_phase=snapshot.next_phase,
            rows=sum(snapshot.counts.get(table.label, 0) for table in plan.tables),
            lease_until=leases.grace(),
        )
        from_snapshot = f"rehearsal {rehearsal.pk} from snapshot {rehearsal.snapshot_id}."
        activity_log.record(
            Event.REHEARSAL_ASKED_FOR,
            f"Requested {from_snapshot}{_anyway(load)}",
            on=rehearsal,
            actor=actor,
            source=source,
            **_overridden(load),
        )
        queue.send_work(rehearsal)
    return rehearsal


def _server_for(
    rollout: Rollout, snapshot: Snapshot | None, *, anyway: bool
) -> tuple[str, list[Item]]:
    """The name of a rehearsal's server, empty for production's own; the load overridden there.

    Raises Refused, and its subclass UnderLoad.
    """
    snapshot = snapshot or newest_verified(rollout)
    if refusal_to_rehearse(rollout, snapshot) or snapshot is None:
        return "", []  # Refused later, under the lock.
    try:
        server = rehearsal_server()
    except ImproperlyConfigured as error:
        raise Refused(f"{error}. Correct it, then rehearse.") from error
    if server is None:
        target = target_of(rollout.environment)
        failed = [
            item
            for item in load(target, plan_of(rollout), copies=COPIES)
            if item.level in ("blocks", "warns")
        ]
        if failed and not anyway:
            raise UnderLoad(failed)
        return "", failed
    try:
        with target_of_server(server).connect(connect_timeout=CONNECT_SECONDS) as connection:
            there = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise Refused(
            f"The rehearsal server {server.name} does not answer: {str(error).strip()} "
            f"Start it, or correct {SETTING}."
        ) from error
    if there < (major := int(snapshot.server_version.partition(".")[0])):
        raise Refused(
            f"Snapshot {snapshot.pk} is from PostgreSQL {major}, and the rehearsal server "
            f"{server.name} runs PostgreSQL {there}: a dump cannot be restored into an older "
            f"version. Name a server with PostgreSQL {major} or newer in {SETTING}."
        )
    return server.name, []


def _free_name(number: int) -> str:
    """A name that no rehearsal's environment ever had."""
    while Rollout.objects.filter(environment=f"rehearsal-{number}").exists():
        number += 1
    return f"rehearsal-{number}"


def cancel_rehearsal(rehearsal: Rehearsal, *, actor: Actor, source: str = "web") -> None:
    """Stop a rehearsal; its database goes. Raises Refused."""
    with alone_with(rehearsal.rollout):
        ask_to_cancel(rehearsal)
        run = active_run(rehearsal.sandbox)
        if run is not None and run.state != RunState.CANCELLING:
            phases.cancel(rehearsal.sandbox, actor=actor, source=source)
        activity_log.record(
            Event.REHEARSAL_CANCEL_ASKED_FOR,
            f"Requested cancellation of rehearsal {rehearsal.pk}.",
            on=rehearsal,
            actor=actor,
            source=source,
        )


def drop_database(rehearsal: Rehearsal, *, actor: Actor, source: str = "web") -> None:
    """Drop the database of a rehearsal that has ended. Raises Refused."""
    rehearsal.refresh_from_db()
    if rehearsal.under_way:
        raise Refused(f"{rehearsal.title} is still running. Cancel it: that drops its database.")
    environments.drop_environment(rehearsal.environment, actor=actor, source=source)


def _overridden(items: Sequence[Item]) -> dict[str, Any]:
    return {"anyway": {item.name: item.evidence for item in items}} if items else {}


def _anyway(overridden: Sequence[Item]) -> str:
    if not overridden:
        return ""
    names = ", ".join(item.name for item in overridden)
    return f" Started although the server was under load: {names}."
