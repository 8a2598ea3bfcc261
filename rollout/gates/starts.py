"""Whether a phase may start or be rolled back, and what to do if it may not."""

from collections.abc import Iterable

from rollout import gates
from rollout.gates import Evidence, GateStatus
from rollout.journal.rollouts import is_busy
from rollout.models import Direction, PhaseRun, RunState
from rollout.plan.plan import Plan
from rollout.plan.step import ENFORCE

# A run in one of these states is not done, and can be retried.
STOPPED = (RunState.FAILED, RunState.CANCELLED)


def refusal_to_start(
    evidence: Evidence, active: PhaseRun | None, answers: Iterable[GateStatus]
) -> str:
    """Why a phase cannot be started now, and what to do about it; empty if it can."""
    plan, phase, runs = evidence.plan, evidence.number, evidence.runs
    if not 0 <= phase < len(plan.phases):
        return f"There is no phase {phase}: phases are 0 to {len(plan.phases) - 1}."
    if active is not None:
        return is_busy(active)
    newest = runs.get(phase)
    if newest is not None and newest.way == Direction.BACKWARD and newest.state != RunState.DONE:
        return f"The rollback of phase {phase} is incomplete. Retry it first."
    if gates.is_done(newest):
        return f"Phase {phase} is already complete. Roll it back to run it again."
    begun_later = [n for n, run in runs.items() if n > phase and not gates.is_not_started(run)]
    if begun_later:
        return f"Phase {max(begun_later)} has already started. Roll it back first."
    for status in answers:
        if not status.lets_through:
            return f"Gate “{status.label}”: {status.message}"
    return ""


def refusal_to_roll_back(
    plan: Plan, phase: int, runs: dict[int, PhaseRun], active: PhaseRun | None
) -> str:
    """Why a phase cannot be rolled back now, and what to do about it; empty if it can."""
    if not 0 <= phase < len(plan.phases):
        return f"There is no phase {phase}: phases are 0 to {len(plan.phases) - 1}."
    if active is not None:
        return is_busy(active)
    if gates.is_not_started(runs.get(phase)):
        return (
            f"Phase {phase} has not run: there is nothing to roll back. "
            "Roll back the newest phase that has run."
        )
    begun_later = [n for n, run in runs.items() if n > phase and not gates.is_not_started(run)]
    if begun_later:
        return f"Roll back phase {max(begun_later)} first: the newest phase comes first."
    return ""


def refusal_beside_rollback(phase: int, run: PhaseRun) -> str:
    """Why rows and mapping cannot be changed until a phase's rollback is done.

    They can while phase 3 is rolled back: it keeps all that a repair needs, and its proof may ask
    for one.
    """
    if run.way != Direction.BACKWARD or run.state == RunState.DONE or phase == ENFORCE:
        return ""
    return f"The rollback of phase {phase} is incomplete. Retry it first."


def unfinished_repair(runs: dict[int, PhaseRun], newest: PhaseRun | None) -> PhaseRun | None:
    """The newest repair, if it is active, or failed or was cancelled and can continue."""
    if newest is None or newest.active:
        return newest
    return newest if newest.state in STOPPED and not is_outdated(newest, runs) else None


def is_outdated(repair: PhaseRun, runs: dict[int, PhaseRun]) -> bool:
    """Whether a phase ran after a repair was asked for, so that its rows may need another one."""
    return any(
        run.pk > repair.pk or (run.finished_at is not None and run.finished_at > repair.created_at)
        for run in runs.values()
    )
