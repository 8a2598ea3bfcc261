"""Whether a phase may start or be rolled back, and what to do if it may not."""

from collections.abc import Iterable

from rollout import gates
from rollout.gates import Evidence, GateStatus
from rollout.journal.rollouts import is_busy, no_phase
from rollout.models import ChainState, Direction, PhaseRun, RollbackChain, RunState
from rollout.plan.plan import ENFORCE

# A run in one of these states is not done, and can be retried.
STOPPED = (RunState.FAILED, RunState.CANCELLED)


def refusal_to_start(
    evidence: Evidence, active: PhaseRun | None, statuses: Iterable[GateStatus]
) -> str:
    """Why a phase cannot be started now, and what to do about it; empty if it can."""
    phase, runs = evidence.number, evidence.runs
    if reason := _refusal_now(evidence, active):
        return reason
    newest = evidence.run
    if (
        newest is not None
        and newest.direction == Direction.BACKWARD
        and newest.state != RunState.DONE
    ):
        return f"The rollback of phase {phase} is incomplete. Retry it first."
    if gates.is_done(newest):
        return f"Phase {phase} is already complete. Roll it back to run it again."
    if later := gates.started_after(runs, phase):
        return f"Phase {later[0]} has already started. Roll it back first."
    for status in statuses:
        if not status.lets_through:
            return f"Gate “{status.label}”: {status.message}"
    return evidence.facts.refusal_beside_restore


def refusal_to_roll_back(
    evidence: Evidence, active: PhaseRun | None, chain: RollbackChain | None = None
) -> str:
    """Why a phase cannot be rolled back now, and what to do about it; empty if it can.

    ``chain`` is the rollback of several phases that it would be part of.
    """
    phase, runs = evidence.number, evidence.runs
    if reason := _refusal_now(evidence, active, chain):
        return reason
    if gates.is_not_started(runs.get(phase)):
        return (
            f"Phase {phase} has not run: there is nothing to roll back. "
            "Roll back the newest phase that has run."
        )
    if later := gates.started_after(runs, phase):
        return f"Roll back phase {later[0]} first: the newest phase comes first."
    return evidence.facts.refusal_beside_restore


def _refusal_now(
    evidence: Evidence, active: PhaseRun | None, chain: RollbackChain | None = None
) -> str:
    """Why a phase can be run in neither direction; between two rollbacks of a chain only by it."""
    if evidence.number not in range(len(evidence.plan.phases)):
        return no_phase(evidence.number)
    if active is not None:
        return is_busy(active)
    for running in (run.chain for run in evidence.runs.values()):
        if running is not None and running.state == ChainState.RUNNING and running != chain:
            return (
                f"{running.actor_name}'s {running.name} is running. Wait for it to end, or cancel "
                "it."
            )
    return ""


def refusal_beside_rollback(phase: int, run: PhaseRun) -> str:
    """Why rows and mapping cannot be changed until a phase's rollback is done.

    They can while phase 3 is rolled back: it keeps all that a repair needs, and its proof may ask
    for one.
    """
    if run.direction != Direction.BACKWARD or run.state == RunState.DONE or phase == ENFORCE:
        return ""
    return f"The rollback of phase {phase} is incomplete. Retry it first."


def unfinished_repair(runs: dict[int, PhaseRun], newest: PhaseRun | None) -> PhaseRun | None:
    """The newest repair, if it is active, or failed or was cancelled and can continue."""
    if newest is None or newest.active:
        return newest
    return newest if newest.state in STOPPED and not is_outdated(newest, runs) else None


def is_outdated(repair: PhaseRun, runs: dict[int, PhaseRun]) -> bool:
    """Whether a phase ran after a repair was requested, so that its rows may need another one."""
    return any(
        run.pk > repair.pk or (run.finished_at is not None and run.finished_at > repair.created_at)
        for run in runs.values()
    )
