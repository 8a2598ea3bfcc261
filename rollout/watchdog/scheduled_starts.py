"""Starts the phases whose scheduled time has come, each once, or records why not."""

from datetime import datetime, timedelta

from django.db import DatabaseError

from rollout import journal
from rollout.journal import activity_log, watched_times
from rollout.journal.actors import Absent, Refused
from rollout.journal.environments import home_of
from rollout.journal.events import Event
from rollout.journal.moments import in_words, in_zone
from rollout.journal.scheduled_starts import end_wait
from rollout.models import ScheduledStart, ScheduleState
from rollout.permissions import allowed_in
from rollout.plan import plans
from rollout.plan.registry import UnknownPlan
from rollout.runner.phases import start
from rollout.watchdog.isolation import isolated

# A start that no watchdog made by then is refused instead of made late.
MAX_DELAY = timedelta(minutes=10)


def start_due() -> int:
    """Make the starts that are due; how many there were.

    Time passes as a watchdog sees it: a clock that jumps makes no start.
    """
    now = watched_times.newest_moment()
    if now is None:
        return 0
    due = ScheduledStart.objects.filter(state=ScheduleState.WAITING, at__lte=now)
    started = 0
    for pk in due.values_list("pk", flat=True):
        with isolated(f"The scheduled start {pk}"):
            started += _start(pk, now)
    return started


def _start(pk: int, now: datetime) -> bool:
    """Start a phase, or record why not, in the transaction that ends the wait; whether it ended.

    So it is done once, and after a watchdog that died in between another finds it waiting. Whoever
    cancels it meanwhile, or begins a run that does, comes first.
    """
    due = (
        ScheduledStart.objects.select_related("rollout", "actor")
        .filter(pk=pk, state=ScheduleState.WAITING)
        .first()
    )
    if due is None:
        return False
    try:
        if reason := _refusal(due, now):
            raise Refused(reason)
        actor = due.actor or Absent(due.actor_name)
        start(due.rollout, due.phase, due=due, actor=actor, source="watchdog")
    except DatabaseError:
        # The journal is away: the next look tries again.
        raise
    except Exception as refusal:
        return _refuse(due, str(refusal).strip())
    return True


def call_off(reason: str) -> None:
    """Refuse all starts that wait, and record why."""
    with journal.atomic():
        for due in ScheduledStart.objects.filter(state=ScheduleState.WAITING):
            _refuse(due, reason)


def _refuse(due: ScheduledStart, reason: str) -> bool:
    """Record why a start is not made; whether it was still waited for."""
    with journal.atomic():
        if not end_wait(due, ScheduleState.NOT_STARTED, outcome=reason):
            return False
        activity_log.record(
            Event.SCHEDULED_START_REFUSED,
            f"Phase {due.phase}, scheduled for {in_zone(due.at, due.zone)}, did not start: "
            f"{reason}",
            on=due,
            actor=due.actor_name,
            source="watchdog",
        )
    return True


def _refusal(due: ScheduledStart, now: datetime) -> str:
    """Why the start is not even tried; empty if it is."""
    try:
        plan = plans.get(due.rollout.plan)
    except UnknownPlan as error:
        return str(error)
    if now - due.at > MAX_DELAY:
        return (
            f"no watchdog was online until {in_words(now)}, more than "
            f"{MAX_DELAY.total_seconds() // 60:.0f} minutes late. Make sure that a watchdog runs, "
            "then start it by hand or schedule it again."
        )
    if due.phase_digest != plan.digest_of(due.phase):
        return "the phase changed after it was scheduled. Review it and schedule it again."
    if due.actor is not None and not (
        due.actor.is_active
        and allowed_in(due.actor, "start_rollout", home_of(due.rollout.environment))
    ):
        return (
            f"{due.actor_name} no longer has permission to start phases. Another lead must "
            "schedule it again."
        )
    return ""
