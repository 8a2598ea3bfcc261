"""How a scheduled start ends: made at its time, cancelled, or overtaken by what people do."""

from typing import Any

from django.utils import timezone

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor
from rollout.journal.events import Event
from rollout.journal.moments import in_zone
from rollout.journal.transitions import move
from rollout.models import Direction, PhaseRun, Rollout, RunState, ScheduledStart, ScheduleState


def end_wait(due: ScheduledStart, state: ScheduleState, *, outcome: str = "") -> bool:
    """Note what became of a start whose time has come.

    False if somebody has cancelled it since it was read, or scheduled another one in its place.
    """
    same = {"phase": due.phase, "at": due.at, "phase_digest": due.phase_digest}
    return move(due, state, expected=same, outcome=outcome, ended_at=timezone.now())


def cancel(
    rollout: Rollout, why: str = "", *, actor: Actor | str, source: str, **of: int
) -> ScheduledStart | None:
    """Cancel the start that waits, and tell who scheduled it; None if none waits.

    ``why`` is what the actor did instead, such as “rolled back phase 3”.
    """
    name = actor if isinstance(actor, str) else actor.get_username()
    with journal.atomic():
        waiting = (
            ScheduledStart.objects.select_for_update()
            .filter(rollout=rollout, state=ScheduleState.WAITING, **of)
            .first()
        )
        if waiting is None:
            return None
        move(waiting, ScheduleState.CANCELLED, ended_at=timezone.now())
        more: dict[str, Any] = {}
        if waiting.actor_name != name:
            more["addressees"] = [waiting.actor_name]
        activity_log.record(
            Event.START_UNSCHEDULED,
            f"Cancelled the scheduled start of {_named(waiting)}"
            f"{f': {name} {why}' if why else ''}.",
            on=waiting,
            actor=name,
            source=source,
            **more,
        )
    return waiting


def overtake(run: PhaseRun, *, actor: Actor | str, source: str) -> None:
    """Cancel the start that would repeat what a run does, or undo what it takes back.

    A run forward ends the wait for its own phase, a rollback the wait for any. In the transaction
    that begins the run, so that nobody's press and the watchdog both count.
    """
    if run.direction == Direction.REPAIR:
        return
    if run.direction == Direction.BACKWARD:
        run.overtakes = cancel(
            run.rollout, f"rolled back phase {run.phase}", actor=actor, source=source
        )
        return
    why = "recorded it as done" if run.state == RunState.DONE else "has started it already"
    run.overtakes = cancel(run.rollout, why, actor=actor, source=source, phase=run.phase)


def overtaken_by(run: PhaseRun) -> str:
    """What to tell who began a run that ended somebody's wait; empty if it ended none."""
    if run.overtakes is None:
        return ""
    by = run.overtakes.actor_name
    return f"The scheduled start of {_named(run.overtakes)}, planned by {by}, is cancelled."


def _named(start: ScheduledStart) -> str:
    return f"phase {start.phase} at {in_zone(start.at, start.zone)}"
