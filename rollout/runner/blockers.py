"""The sessions that block a phase now, and the verb that cancels or terminates one."""

from dataclasses import dataclass

import psycopg

from rollout import journal
from rollout.engine import blockers
from rollout.engine.blockers import How
from rollout.engine.statement_activities import Blocker, StatementActivity
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.models import WORKING, Rollout, StepRun, StepState

ASKED = {"cancel": "cancel its query", "end": "terminate"}


@dataclass(frozen=True)
class BlockedStep:
    """A running step, and the activity of its statement."""

    step_run: StepRun
    activity: StatementActivity

    def blocker(self, pid: int, began_at: str) -> Blocker | None:
        """The blocking session that was shown, if it was still blocking when last observed."""
        return next(
            (
                blocker
                for blocker in self.activity.blockers
                if (blocker.pid, blocker.began_at) == (pid, began_at)
            ),
            None,
        )


def blocked_step(rollout: Rollout) -> BlockedStep | None:
    """The step of a rollout whose statement is observed now; None if none is."""
    row = (
        StepRun.objects.filter(
            run__rollout=rollout,
            run__state__in=WORKING,
            state=StepState.RUNNING,
            activity__isnull=False,
        )
        .select_related("run__rollout")
        .first()
    )
    return BlockedStep(row, StatementActivity.of(row.activity)) if row and row.activity else None


def refusal_to_end(rollout: Rollout, pid: int, began_at: str, how: How) -> str:
    """Why a session cannot be cancelled or terminated now; empty if it can."""
    try:
        _blocker_of(rollout, pid, began_at, how)
    except Refused as refusal:
        return str(refusal)
    return ""


def end_blocker(
    rollout: Rollout,
    pid: int,
    *,
    began_at: str,
    how: How,
    actor: Actor,
    source: str = "web",
) -> str:
    """Cancel the query of a blocking session, or terminate it; a sentence of the result.

    ``began_at`` is that of the session that was shown. Raises Refused.
    """
    blocked, blocker = _blocker_of(rollout, pid, began_at, how)
    run = blocked.step_run.run
    try:
        with target_of(rollout.environment).connect() as connection:
            with journal.atomic():
                activity_log.record(
                    Event.BLOCKER_CANCELLED if how == "cancel" else Event.BLOCKER_ENDED,
                    f"Asked {_described(blocker)} to {ASKED[how]}; it was blocking {run.name}.",
                    on=run,
                    actor=actor,
                    source=source,
                    step=blocked.step_run.step,
                    statement=blocked.activity.statement,
                    pid=blocker.pid,
                    began_at=blocker.began_at,
                    application=blocker.application,
                    user=blocker.user,
                    state=blocker.state,
                    transaction_seconds=blocker.seconds,
                    locks=list(blocker.locks),
                    query=blocker.query,
                )
                if not blockers.signal(connection, blocker, how):
                    raise Refused(f"pid {pid} has already ended; no action was needed.")
            gone = blockers.has_gone(connection, blocker)
    except psycopg.Error as error:
        raise Refused(f"The database refused: {error}".strip()) from error
    if gone:
        return f"{_described(blocker)} no longer blocks {run.name}."
    return (
        f"{_described(blocker)} was asked to {ASKED[how]} and has not stopped yet. Check again "
        f"shortly{', or terminate the session' if how == 'cancel' else ''}."
    )


def _blocker_of(rollout: Rollout, pid: int, began_at: str, how: How) -> tuple[BlockedStep, Blocker]:
    """The session as it is now. Raises Refused if it may not be touched."""
    blocked = blocked_step(rollout)
    if blocked is None:
        raise Refused("No step waits for another session now; no action was taken.")
    blocker = blocked.blocker(pid, began_at)
    if blocker is None:
        raise Refused(
            f"pid {pid} does not block {blocked.step_run.run.name}; no action was taken. "
            "Reload the page."
        )
    try:
        with target_of(rollout.environment).connect() as connection:
            reason = blockers.refusal_to_end(connection, blocker, blocked.activity, how)
    except psycopg.Error as error:
        raise Refused(f"The database is not available: {error}".strip()) from error
    if reason:
        raise Refused(reason)
    return blocked, blocker


def _described(blocker: Blocker) -> str:
    return f"pid {blocker.pid} ({blocker.application}, {blocker.user})"
