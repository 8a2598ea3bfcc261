"""Scheduled starts as people request them; the watchdog makes them."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from rollout import gates, journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.moments import in_zone
from rollout.journal.rollouts import alone_with, no_phase, plan_of
from rollout.journal.transitions import move
from rollout.models import Rollout, ScheduledStart, ScheduleState
from rollout.plan.gates import MaintenanceWindow
from rollout.plan.plan import Plan
from rollout.runner.reasons import refuse_unread

MAX_AHEAD = timedelta(days=60)


def window_of(plan: Plan, phase: int) -> MaintenanceWindow | None:
    """The maintenance window of a phase, if the plan has one."""
    windows = (gate for gate in plan.gates_of(phase) if isinstance(gate, MaintenanceWindow))
    return next(windows, None)


def schedule_start(
    rollout: Rollout,
    phase: int,
    *,
    at: datetime,
    zone: str,
    seen: str | None = None,
    actor: Actor,
    source: str = "web",
) -> ScheduledStart:
    """Schedule a phase's start; requested twice, it is one start.

    ``zone`` is the time zone in which the time was given and is shown. ``seen`` is the digest of
    the phase that was read. Raises Refused, and its subclass PhaseChanged.
    """
    from django.contrib.auth import get_user_model

    plan, now = plan_of(rollout), timezone.now()
    if not 0 <= phase < len(plan.phases):
        raise Refused(no_phase(phase))
    refuse_unread(plan, phase, seen, "schedule it")
    if at <= now:
        raise Refused(f"{in_zone(at, zone)} is in the past. Choose a later time.")
    if at > now + MAX_AHEAD:
        raise Refused(
            f"{in_zone(at, zone)} is too far ahead. Choose a time within the next {MAX_AHEAD.days} "
            "days."
        )
    window = window_of(plan, phase)
    if window is not None and not window.contains(at):
        raise Refused(
            f"{in_zone(at, zone)} is outside the maintenance window ({window.sentence}). It next "
            f"opens at {window.next_opening(now):%Y-%m-%d %H:%M %Z}."
        )
    with alone_with(rollout):
        if gates.is_done(gates.newest_runs(rollout).get(phase)):
            raise Refused(f"Phase {phase} is already complete. Roll it back to run it again.")
        fields: dict[str, Any] = {
            "phase": phase,
            "at": at,
            "zone": zone,
            "actor": actor if isinstance(actor, get_user_model()) else None,
            "actor_name": actor.get_username(),
            "phase_digest": plan.digest_of(phase),
        }
        made, is_new = ScheduledStart.objects.get_or_create(rollout=rollout, defaults=fields)
        if not is_new and made.state == ScheduleState.WAITING:
            if (made.phase, made.at) == (phase, at):
                return made
            raise Refused(
                f"{made.actor_name} has scheduled phase {made.phase} for "
                f"{in_zone(made.at, made.zone)}. Cancel that first."
            )
        if not is_new:
            move(made, ScheduleState.WAITING, outcome="", ended_at=None, **fields)
        activity_log.record(
            Event.START_SCHEDULED,
            f"Scheduled phase {phase} for {in_zone(at, zone)}.",
            on=made,
            actor=actor,
            source=source,
        )
    return made


def unschedule(rollout: Rollout, *, actor: Actor, source: str = "web") -> ScheduledStart:
    """Cancel the scheduled start. Raises Refused."""
    with journal.atomic():
        waiting = ScheduledStart.objects.select_for_update().filter(rollout=rollout).first()
        if waiting is None or waiting.state != ScheduleState.WAITING:
            raise Refused("No start is scheduled: there is nothing to cancel.")
        move(waiting, ScheduleState.CANCELLED, ended_at=timezone.now())
        activity_log.record(
            Event.START_UNSCHEDULED,
            f"Cancelled the scheduled start of phase {waiting.phase} at "
            f"{in_zone(waiting.at, waiting.zone)}.",
            on=waiting,
            actor=actor,
            source=source,
        )
    return waiting


def end_wait(rollout: Rollout, why: str, *, actor: Actor, source: str, **of: int) -> None:
    """Cancel the scheduled start that waits, if any: it would come after what people do now.

    One that the watchdog makes at this moment is left to it: what people do refuses it.
    """
    waiting = (
        ScheduledStart.objects.select_for_update(skip_locked=True)
        .filter(rollout=rollout, state=ScheduleState.WAITING, **of)
        .first()
    )
    if waiting is None:
        return
    move(waiting, ScheduleState.CANCELLED, ended_at=timezone.now())
    activity_log.record(
        Event.START_UNSCHEDULED,
        f"Cancelled the scheduled start of phase {waiting.phase} at "
        f"{in_zone(waiting.at, waiting.zone)}: {actor.get_username()} {why}.",
        on=waiting,
        actor=actor,
        source=source,
    )
