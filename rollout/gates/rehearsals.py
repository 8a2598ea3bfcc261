"""The gate about rehearsals."""

from rollout.gates.evidence import Evidence
from rollout.gates.registry import Answered, answers
from rollout.journal.moments import in_words, staleness
from rollout.models import REHEARSAL_UNDER_WAY, RehearsalState
from rollout.plan.gates import RehearsalPassed


@answers(RehearsalPassed)
def rehearsal_passed(gate: RehearsalPassed, evidence: Evidence) -> Answered:
    newest = evidence.facts.rehearsals
    ended = [
        each for each in newest if each.state in (RehearsalState.PASSED, RehearsalState.FAILED)
    ]
    if newest and newest[0].state in REHEARSAL_UNDER_WAY:
        return "unknown", f"Rehearsal {newest[0].pk} is under way. Wait for its end."
    if not ended:
        return "fail", "The plan has not been rehearsed. Rehearse it first."
    last = ended[0]
    at = f"{in_words(last.finished_at or last.created_at)}"
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
