"""Whether what somebody signed still counts, and which gate is overridden by whom."""

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_done
from rollout.journal.moments import in_words, is_to_come
from rollout.models import SignOff, SignOffKind


def void_reason(sign_off: SignOff, evidence: Evidence) -> str:
    """Why an approval or an override is no longer valid; empty if it is."""
    if sign_off.withdrawn_at is not None:
        return f"withdrawn by {sign_off.withdrawn_by_name}."
    if sign_off.plan_digest != evidence.plan.digest:
        return f"the plan has changed since, from {sign_off.plan_digest} to {evidence.plan.digest}."
    if sign_off.phase_digest != evidence.plan.digest_of(evidence.number):
        return "the SQL or the gates of the phase have changed since."
    if is_to_come(sign_off.at, evidence.now):
        signed_at = in_words(sign_off.at)
        return f"its time, {signed_at}, is in the future: a clock was set back since."
    if sign_off.expires_at is not None and sign_off.expires_at <= evidence.now:
        return f"expired at {in_words(sign_off.expires_at)}."
    run = evidence.run
    if sign_off.run_id is not None and (run is None or sign_off.run_id != run.pk or is_done(run)):
        return "used by an earlier start."
    if sign_off.actor_id is None and sign_off.kind != SignOffKind.REQUEST:
        return f"the account of {sign_off.actor_name} no longer exists."
    return ""


def rejection_of(evidence: Evidence) -> SignOff | None:
    """The newest rejection of the phase that is in force."""
    rejections = evidence.sign_offs(SignOffKind.REJECTION)
    return next((r for r in rejections if not void_reason(r, evidence)), None)


def override_of(name: str, evidence: Evidence) -> tuple[SignOff | None, SignOff | None]:
    """The override of a gate that is in force, and the one that waits for a second lead."""
    needs_two = evidence.plan.is_guarded(evidence.number)
    for override in evidence.sign_offs(SignOffKind.OVERRIDE):
        if override.subject == name and not void_reason(override, evidence):
            if needs_two and override.confirmed_at is None:
                return None, override
            return override, None
    return None, None
