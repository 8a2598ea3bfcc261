"""The gate about another lead's approval."""

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import why_void
from rollout.gates.registry import Answered, answers
from rollout.journal.moments import in_words
from rollout.models import SignOffKind
from rollout.plan.gates import Approved


@answers(Approved)
def approved(gate: Approved, evidence: Evidence) -> Answered:
    given = evidence.sign_offs(SignOffKind.APPROVAL)
    valid = [one for one in given if not why_void(one, evidence)]
    others = [one for one in valid if evidence.is_by_another(one)]
    if others:
        one = others[0]
        assert one.expires_at is not None
        return "pass", (
            f"{one.actor_name} approved plan {one.plan_digest} at {in_words(one.at)}, until "
            f"{in_words(one.expires_at)}."
        )
    if valid and evidence.starter is not None:
        return "fail", (
            f"{valid[0].actor_name} approved it. Who starts the phase must be somebody else, known "
            "by name to this site."
        )
    if given:
        reason = why_void(given[0], evidence)
        return "fail", (
            f"{given[0].actor_name}'s approval of {in_words(given[0].at)} does not count: {reason} "
            "Ask another lead to approve the phase."
        )
    asked = evidence.sign_offs(SignOffKind.REQUEST)
    if asked:
        return "fail", (
            f"{asked[0].actor_name} asked for approval at {in_words(asked[0].at)}; nobody has "
            "given it yet. Another lead than the one who starts must."
        )
    return "fail", "Nobody has approved it. Ask another lead than the one who starts to do so."
