"""The gate about another lead's approval."""

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import void_reason
from rollout.gates.registry import GateResult, check
from rollout.journal.moments import in_words
from rollout.models import SignOffKind
from rollout.plan.gates import Approved


@check(Approved)
def approved(gate: Approved, evidence: Evidence) -> GateResult:
    approvals = evidence.sign_offs(SignOffKind.APPROVAL)
    valid = [approval for approval in approvals if not void_reason(approval, evidence)]
    approval = next((approval for approval in valid if evidence.is_by_another(approval)), None)
    if approval is not None:
        assert approval.expires_at is not None
        return "pass", (
            f"{approval.actor_name} approved plan {approval.plan_digest} at "
            f"{in_words(approval.at)}, until {in_words(approval.expires_at)}."
        )
    if valid and evidence.starter is not None:
        return "fail", (
            f"{valid[0].actor_name} approved it. Who starts the phase must be somebody else, known "
            "by name to this site."
        )
    if approvals:
        newest = approvals[0]
        reason = void_reason(newest, evidence)
        return "fail", (
            f"{newest.actor_name}'s approval of {in_words(newest.at)} does not count: {reason} "
            "Ask another lead to approve the phase."
        )
    requests = evidence.sign_offs(SignOffKind.REQUEST)
    if requests:
        return "fail", (
            f"{requests[0].actor_name} asked for approval at {in_words(requests[0].at)}; nobody "
            "has given it yet. Another lead than the one who starts must."
        )
    return "fail", "Nobody has approved it. Ask another lead than the one who starts to do so."
