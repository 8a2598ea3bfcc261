"""The gate about the live schema."""

from rollout import drift
from rollout.gates.answering import Answered, answers
from rollout.gates.evidence import Evidence
from rollout.gates.standing import steps_done
from rollout.plan.gates import NoDrift


@answers(NoDrift)
def no_drift(gate: NoDrift, evidence: Evidence) -> Answered:
    return drift.answer(
        evidence.rollout,
        evidence.plan,
        evidence.number,
        evidence.run,
        steps_done=steps_done(evidence.plan, evidence.run),
    )
