"""The gate about rehearsals."""

from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, failed, passed, pending
from rollout.gates.snapshots import pending_snapshot, snapshot_under_way
from rollout.journal.moments import in_words, staleness
from rollout.logs.texts import counted
from rollout.models import REHEARSAL_UNDER_WAY, RehearsalState, SnapshotState
from rollout.plan.gates import RehearsalPassed


def rehearsal_under_way(evidence: Evidence) -> GateResult | None:
    """What to wait for where a rehearsal runs, or starts from a snapshot that is being taken."""
    rehearsals = evidence.facts.rehearsals
    if rehearsals and rehearsals[0].state in REHEARSAL_UNDER_WAY:
        running = rehearsals[0]
        done = evidence.facts.rehearsed_runs
        expected = 2 * (len(evidence.plan.phases) - running.first_phase)
        return pending(
            "wait",
            f"Rehearsal {running.pk} is running: {done} of {expected} runs complete. Wait until "
            "it has finished.",
            progress=done / expected,
        )
    newest = next(iter(evidence.facts.snapshots), None)
    return snapshot_under_way(evidence) if newest is not None and newest.then_rehearse else None


def rehearse_from_new(evidence: Evidence, problem: str) -> GateResult:
    """What to do where a rehearsal's snapshot is outdated; after what is said of it."""
    return snapshot_under_way(evidence) or pending(
        "take_snapshot", f"{problem} Take a snapshot, then rehearse again."
    )


def rehearse_from_before(evidence: Evidence, number: int, problem: str) -> GateResult:
    """What to do where the newest rehearsal began after a phase; after what is said of it."""
    began = f"{problem} it began at phase {evidence.facts.rehearsals[0].first_phase}."
    snapshots = evidence.facts.snapshots
    newest = next((s for s in snapshots if s.state == SnapshotState.VERIFIED), None)
    if newest is not None and newest.next_phase <= number:
        return pending("rehearse", f"{began} Rehearse again.")
    return rehearse_from_new(evidence, began)


@check(RehearsalPassed)
def rehearsal_passed(gate: RehearsalPassed, evidence: Evidence) -> GateResult:
    rehearsals = evidence.facts.rehearsals
    if waiting := rehearsal_under_way(evidence):
        return waiting
    ended = (RehearsalState.PASSED, RehearsalState.FAILED)
    last = next((rehearsal for rehearsal in rehearsals if rehearsal.state in ended), None)
    if last is None:
        return pending_snapshot(evidence, "Not rehearsed yet.") or pending(
            "rehearse", "Not rehearsed yet. Rehearse the plan."
        )
    of = f"Rehearsal {last.pk} of {in_words(last.finished_at or last.created_at)}"
    if last.plan_digest != evidence.plan.digest:
        return pending("rehearse", f"{of} used another version of the plan. Rehearse again.")
    if newer := evidence.facts.rehearsal_is_older_than(last):
        return rehearse_from_new(evidence, f"{of} used a snapshot that is older than {newer}.")
    if last.state == RehearsalState.FAILED:
        return failed("rehearse", f"{of} failed: {last.error} {last.advice}".strip())
    if last.first_phase > evidence.number:
        return rehearse_from_before(evidence, evidence.number, f"{of} passed, but")
    hours = gate.fresh_for.total_seconds() / 3600
    span = f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"
    if stale := staleness(last.finished_at or last.created_at, gate.fresh_for, span, evidence.now):
        return pending("rehearse", f"{of} {stale}. Rehearse again.")
    return passed(
        f"{of} passed: {counted(last.rows_compared, 'row')} verified after phases "
        f"{last.first_phase} to 4 "
        f"and back, {last.untouched_rows:,} unchanged and {last.written_rows:,} as the traffic "
        "wrote or added them."
    )
