"""The gate about rehearsals."""

from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, failed, passed, pending
from rollout.gates.snapshots import pending_snapshot
from rollout.journal.moments import in_words, staleness
from rollout.models import REHEARSAL_UNDER_WAY, RehearsalState
from rollout.plan.gates import RehearsalPassed


def rehearsal_under_way(evidence: Evidence) -> GateResult | None:
    rehearsals = evidence.facts.rehearsals
    if rehearsals and rehearsals[0].state in REHEARSAL_UNDER_WAY:
        return pending(
            "wait", f"Rehearsal {rehearsals[0].pk} is running. Wait until it has finished."
        )
    return None


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
        return pending(
            "take_snapshot",
            f"{of} used a snapshot that is older than {newer}. Take a snapshot, then rehearse "
            "again.",
        )
    if last.state == RehearsalState.FAILED:
        return failed("rehearse", f"{of} failed: {last.error} {last.advice}".strip())
    if last.first_phase > evidence.number:
        return pending(
            "rehearse",
            f"{of} started at phase {last.first_phase}. Rehearse from a snapshot taken before "
            f"phase {evidence.number}.",
        )
    hours = gate.fresh_for.total_seconds() / 3600
    span = f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"
    if stale := staleness(last.finished_at or last.created_at, gate.fresh_for, span, evidence.now):
        return pending("rehearse", f"{of} {stale}. Rehearse again.")
    return passed(
        f"{of} passed: {last.rows:,} rows went through phases {last.first_phase} to 4 and back, "
        f"{last.untouched_rows:,} unchanged and {last.written_rows:,} as the traffic had written "
        "them."
    )
