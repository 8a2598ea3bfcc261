"""The gate about another lead's approval."""

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import rejection_of, void_reason
from rollout.gates.registry import GateResult, check, failed, passed, pending
from rollout.journal.moments import in_words
from rollout.logs.texts import as_sentence
from rollout.models import SignOffKind
from rollout.plan.gates import Approved


@check(Approved)
def approved(gate: Approved, evidence: Evidence) -> GateResult:
    if (rejection := rejection_of(evidence)) is not None:
        return failed(
            "see_rejection",
            f"Rejected by {rejection.actor_name} at {in_words(rejection.at)}: "
            f"{as_sentence(rejection.reason)} Change the plan and request approval again, or have "
            "the rejection withdrawn.",
        )
    approvals = evidence.sign_offs(SignOffKind.APPROVAL)
    valid = [approval for approval in approvals if not void_reason(approval, evidence)]
    approval = next((approval for approval in valid if evidence.is_by_another(approval)), None)
    if approval is not None:
        assert approval.expires_at is not None
        return passed(
            f"Approved by {approval.actor_name} at {in_words(approval.at)}, valid until "
            f"{in_words(approval.expires_at)}. Plan digest {approval.plan_digest}."
        )
    if valid and evidence.starter is not None:
        return pending(
            "wait",
            f"Approved by {valid[0].actor_name}. Another lead, logged in by name, must start the "
            "phase.",
        )
    requests = evidence.sign_offs(SignOffKind.REQUEST)
    if request := next((r for r in requests if not void_reason(r, evidence)), None):
        return pending(
            "approve",
            f"{request.actor_name} requested approval at {in_words(request.at)}. Another lead must "
            "approve the phase.",
        )
    if approvals:
        newest = approvals[0]
        return pending(
            "request_approval",
            f"{newest.actor_name}'s approval of {in_words(newest.at)} is no longer valid: "
            f"{void_reason(newest, evidence)} Request another.",
        )
    return pending("request_approval", "Not approved yet. Request approval from another lead.")
