"""The gate about rehearsals."""

from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check
from rollout.journal.moments import in_words, staleness
from rollout.models import REHEARSAL_UNDER_WAY, RehearsalState
from rollout.plan.gates import RehearsalPassed


@check(RehearsalPassed)
def rehearsal_passed(gate: RehearsalPassed, evidence: Evidence) -> GateResult:
    rehearsals = evidence.facts.rehearsals
    if rehearsals and rehearsals[0].state in REHEARSAL_UNDER_WAY:
        return "unknown", f"Rehearsal {rehearsals[0].pk} is under way. Wait for its end."
    ended = (RehearsalState.PASSED, RehearsalState.FAILED)
    last = next((rehearsal for rehearsal in rehearsals if rehearsal.state in ended), None)
    if last is None:
        return "fail", "The plan has not been rehearsed. Rehearse it first."
    at = in_words(last.finished_at or last.created_at)
    if last.plan_digest != evidence.plan.digest:
        return "fail", (
            f"Rehearsal {last.pk} of {at} was of another version of the plan. Rehearse it again."
        )
    newer = evidence.facts.rehearsal_is_older_than(last)
    if newer:
        return "fail", (
            f"Rehearsal {last.pk} of {at} began with a snapshot that is older than {newer}. Take "
            "another, and rehearse again."
        )
    if last.state == RehearsalState.FAILED:
        return "fail", f"Rehearsal {last.pk} of {at} failed: {last.error} {last.advice}".strip()
    if last.first_phase > evidence.number:
        return "fail", (
            f"Rehearsal {last.pk} of {at} began with phase {last.first_phase}. Rehearse from an "
            "older snapshot."
        )
    hours = gate.fresh_for.total_seconds() / 3600
    span = f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"
    if stale := staleness(last.finished_at or last.created_at, gate.fresh_for, span, evidence.now):
        return "fail", f"Rehearsal {last.pk} of {at} {stale}. Rehearse it again."
    return "pass", (
        f"Rehearsal {last.pk} of {at} carried {last.rows:,} rows through phases "
        f"{last.first_phase} to 4 and back: {last.untouched_rows:,} rows came back as they were, "
        f"{last.written_rows:,} as the traffic had written them."
    )
