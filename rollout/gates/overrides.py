"""Whether what somebody signed still counts, and which gate is overridden by whom."""

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_done
from rollout.journal.moments import in_words, is_to_come
from rollout.models import SignOff, SignOffKind


def why_void(one: SignOff, evidence: Evidence) -> str:
    """Why an approval or an override does not count any more; empty where it does."""
    if one.withdrawn_at is not None:
        return f"{one.withdrawn_by_name} withdrew it."
    if one.plan_digest != evidence.plan.digest:
        return f"the plan has changed since, from {one.plan_digest} to {evidence.plan.digest}."
    if one.phase_digest != evidence.plan.digest_of(evidence.number):
        return "what the phase runs or asks for has changed since."
    if is_to_come(one.at, evidence.now):
        return f"it is of {in_words(one.at)}, which has not come yet: a clock was set back since."
    if one.expires_at is not None and one.expires_at <= evidence.now:
        return f"it expired at {in_words(one.expires_at)}."
    if one.run_id is not None and (evidence.run is None or one.run_id != evidence.run.pk):
        return "it was for an earlier start."
    if one.run_id is not None and evidence.run is not None and is_done(evidence.run):
        return "it was for an earlier start."
    if one.actor_id is None and one.kind != SignOffKind.REQUEST:
        return f"{one.actor_name} is no user of this site any more."
    return ""


def override_of(name: str, evidence: Evidence) -> tuple[SignOff | None, SignOff | None]:
    """The override of a gate that is in force, and the one that waits for a second lead."""
    needs_two = evidence.plan.is_guarded(evidence.number)
    for one in evidence.sign_offs(SignOffKind.OVERRIDE):
        if one.subject == name and not why_void(one, evidence):
            if needs_two and one.confirmed_at is None:
                return None, one
            return one, None
    return None, None
