"""Scheduled starts as people request them; the watchdog makes them."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from rollout import gates
from rollout.journal import activity_log, scheduled_starts
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.moments import in_zone
from rollout.journal.rollouts import active_run, alone_with, is_busy, no_phase, plan_of
from rollout.journal.transitions import move
from rollout.models import Direction, Rollout, ScheduledStart, ScheduleState
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
        active = active_run(rollout)
        if active is not None and (active.phase, active.direction) == (phase, Direction.FORWARD):
            raise Refused(f"It has started already: {is_busy(active)}")
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
    waiting = scheduled_starts.cancel(rollout, actor=actor, source=source)
    if waiting is None:
        raise Refused("No start is scheduled: there is nothing to cancel.")
    return waiting
