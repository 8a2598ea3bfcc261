"""Starts at a time to come: asked for by a person, made by the watchdog, once."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
from django.utils import timezone

from rollout import gates, journal, log
from rollout.backends import allowed_in
from rollout.environments import home_of
from rollout.gates import Evidence
from rollout.models import Rollout, ScheduledStart, ScheduleState
from rollout.plan import plans
from rollout.plan.gates import MaintenanceWindow
from rollout.plan.plan import Plan
from rollout.plan.registry import UnknownPlan
from rollout.runner.verbs import Actor, Refused, alone_with, plan_of, start

FURTHEST = timedelta(days=60)
LATEST = timedelta(minutes=10)
"""A start that nobody was there to make for longer than that is not made up for."""


def window_of(plan: Plan, phase: int) -> MaintenanceWindow | None:
    """The window that a phase may start in, where the plan has one."""
    found = (gate for gate in plan.gates_of(phase) if isinstance(gate, MaintenanceWindow))
    return next(found, None)


def schedule_start(
    rollout: Rollout,
    phase: int,
    *,
    at: datetime,
    zone: str,
    actor: Actor,
    source: str = "web",
) -> ScheduledStart:
    """Have a phase started at a time; asked twice, it is one start. Raises Refused.

    ``zone`` is the one in which the time was given: it is shown in it.
    """
    from django.contrib.auth import get_user_model

    plan, now = plan_of(rollout), timezone.now()
    if not 0 <= phase < len(plan.phases):
        raise Refused(f"There is no phase {phase}: phases are 0 to {len(plan.phases) - 1}.")
    if not now < at <= now + FURTHEST:
        raise Refused(f"Name a time to come, of the next {FURTHEST.days} days.")
    window = window_of(plan, phase)
    if window is not None and not window.contains(at):
        raise Refused(
            f"{said(at, zone)} is outside the maintenance window: {window.sentence}. It opens next "
            f"at {window.next_opening(now):%Y-%m-%d %H:%M %Z}."
        )
    with alone_with(rollout):
        if gates.is_done(gates.newest_runs(rollout).get(phase)):
            raise Refused(f"Phase {phase} is done already. Roll it back to carry it out again.")
        waiting = ScheduledStart.objects.filter(
            rollout=rollout, state=ScheduleState.WAITING
        ).first()
        if waiting is not None:
            if (waiting.phase, waiting.at) == (phase, at):
                return waiting
            raise Refused(
                f"{waiting.actor_name} has scheduled phase {waiting.phase} for "
                f"{said(waiting.at, waiting.zone)}. Cancel that first."
            )
        made, _ = ScheduledStart.objects.update_or_create(
            rollout=rollout,
            defaults={
                "phase": phase,
                "at": at,
                "zone": zone,
                "actor": actor if isinstance(actor, get_user_model()) else None,
                "actor_name": actor.get_username(),
                "phase_digest": plan.digest_of(phase),
                "state": ScheduleState.WAITING,
                "outcome": "",
                "ended_at": None,
            },
        )
        _record(
            "start scheduled",
            f"Scheduled phase {phase} for {said(at, zone)}.",
            *(made, actor.get_username(), source),
        )
    return made


def unschedule(rollout: Rollout, *, actor: Actor, source: str = "web") -> ScheduledStart:
    """Cancel the start that waits for its time. Raises Refused."""
    with journal.atomic():
        waiting = ScheduledStart.objects.select_for_update().filter(rollout=rollout).first()
        if waiting is None or waiting.state != ScheduleState.WAITING:
            raise Refused("No start waits for its time: there is nothing to cancel.")
        _end(waiting, ScheduleState.CANCELLED, "")
        _record(
            "start unscheduled",
            f"Cancelled the start of phase {waiting.phase} at {said(waiting.at, waiting.zone)}.",
            *(waiting, actor.get_username(), source),
        )
    return waiting


def start_due() -> int:
    """Make the starts whose time has come; how many there were."""
    due = ScheduledStart.objects.filter(state=ScheduleState.WAITING, at__lte=timezone.now())
    return sum(_start(pk) for pk in due.values_list("pk", flat=True))


def _start(pk: int) -> bool:
    """Start it, or write down why not, in the transaction that says so: it is done once, and
    whoever takes over from a watchdog that died in the middle finds it waiting."""
    with journal.atomic():
        due = (
            ScheduledStart.objects.select_for_update(of=("self",))
            .select_related("rollout", "actor")
            .filter(pk=pk, state=ScheduleState.WAITING)
            .first()
        )
        if due is None:
            return False
        try:
            reason = _why_not(due)
            if reason:
                raise Refused(reason)
            start(due.rollout, due.phase, actor=due.actor or Scheduler(due), source="watchdog")
        except (Refused, psycopg.Error) as refusal:
            _end(due, ScheduleState.NOT_STARTED, str(refusal).strip())
            _record(
                "scheduled start refused",
                f"Phase {due.phase}, scheduled for {said(due.at, due.zone)}, did not start: "
                f"{refusal}",
                *(due, due.actor_name, "watchdog"),
            )
        else:
            _end(due, ScheduleState.STARTED, "")
    return True


def _why_not(due: ScheduledStart) -> str:
    """Why the start is not even tried; empty where it is."""
    now = timezone.now()
    try:
        plan = plans.get(due.rollout.plan)
    except UnknownPlan as error:
        return str(error)
    if now - due.at > LATEST:
        return (
            f"nothing looked until {now:%Y-%m-%d %H:%M:%S} UTC, more than "
            f"{LATEST.total_seconds() // 60:.0f} minutes too late. See that a watchdog runs, and "
            "start it by hand or schedule it anew."
        )
    if due.phase_digest != plan.digest_of(due.phase):
        return "the phase is another now than the one that was scheduled. Read it, and start that."
    if due.actor is not None and not (
        due.actor.is_active
        and allowed_in(due.actor, "start_rollout", home_of(due.rollout.environment))
    ):
        return f"{due.actor_name} may not start phases any more. Another lead schedules it anew."
    return ""


class Scheduler:
    """Who starts where no user of the site asked for it."""

    def __init__(self, due: ScheduledStart) -> None:
        self.name = due.actor_name

    def get_username(self) -> str:
        return self.name


def answers_then(due: ScheduledStart) -> list[gates.GateStatus]:
    """What the gates of a start that waits answer at present."""
    return list(gates.answers_of(Evidence(due.rollout, due.phase, starter=due.actor)))


def said(moment: datetime, zone: str) -> str:
    """A moment as the clocks of a zone show it."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


def _end(due: ScheduledStart, state: ScheduleState, outcome: str) -> None:
    due.state, due.outcome, due.ended_at = state, outcome, timezone.now()
    due.save(update_fields=["state", "outcome", "ended_at"])


def _record(event: str, message: str, one: ScheduledStart, actor: str, source: str) -> None:
    log.record(
        event,
        message,
        actor=actor,
        source=source,
        rollout=one.rollout,
        phase=one.phase,
        data={"at": one.at.isoformat(), "zone": one.zone, "phase_digest": one.phase_digest},
    )
