"""What people signed for, taken back."""

from django.utils import timezone

from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.labels import gate_label
from rollout.journal.rollouts import alone_with
from rollout.logs.texts import as_sentence
from rollout.models import SignOff, SignOffKind
from rollout.runner.approvals import SHORTEST_REASON
from rollout.runner.reasons import reason_of

_WITHDRAWN = {
    SignOffKind.REQUEST: Event.REQUEST_WITHDRAWN,
    SignOffKind.APPROVAL: Event.APPROVAL_WITHDRAWN,
    SignOffKind.REJECTION: Event.REJECTION_WITHDRAWN,
    SignOffKind.OVERRIDE: Event.OVERRIDE_WITHDRAWN,
    SignOffKind.TICK: Event.TICK_TAKEN_BACK,
}


def withdraw(sign_off: SignOff, *, reason: str = "", actor: Actor, source: str = "web") -> None:
    """Take an approval, a rejection, a request or an override back; a request only by who made it.

    Another's is taken back for a reason, with a mail to them. Raises Refused, also when it is too
    late.
    """
    is_anothers = sign_off.actor_name != actor.get_username()
    what = sign_off.get_kind_display().lower()
    if sign_off.kind == SignOffKind.REQUEST and is_anothers:
        raise Refused(
            f"{sign_off.actor_name} made this request and can withdraw it. Approve or reject the "
            "phase instead."
        )
    with alone_with(sign_off.rollout):
        sign_off.refresh_from_db()
        if sign_off.withdrawn_at is not None:
            raise Refused(
                f"{sign_off.withdrawn_by_name} has already withdrawn it. Reload the page."
            )
        if sign_off.run_id is not None:
            raise Refused(
                f"It was already used to start phase {sign_off.phase} and cannot be withdrawn."
            )
        reason = reason_of(
            reason,
            shortest=SHORTEST_REASON if is_anothers else 0,
            missing=f"Say why you withdraw {sign_off.actor_name}'s {what}, in at least "
            f"{SHORTEST_REASON} characters: it is logged and mailed to them.",
        )
        sign_off.withdrawn_at, sign_off.withdrawn_by_name = timezone.now(), actor.get_username()
        sign_off.save(update_fields=["withdrawn_at", "withdrawn_by_name"])
        of = f" of gate “{gate_label(sign_off.subject)}”" if sign_off.subject else ""
        why = f": {as_sentence(reason)}" if reason else "."
        if asker := _asked_again(sign_off):
            why += f" {asker}'s request for approval stands again."
        activity_log.record(
            _WITHDRAWN[SignOffKind(sign_off.kind)],
            f"Withdrew {sign_off.actor_name}'s {what}{of} for phase {sign_off.phase}{why}",
            on=sign_off,
            actor=actor,
            source=source,
            addressees=[sign_off.actor_name] if is_anothers else [],
        )


def _asked_again(rejection: SignOff) -> str:
    """Let the requests stand again that a rejection had answered; who made them."""
    if rejection.kind != SignOffKind.REJECTION:
        return ""
    answered = SignOff.objects.filter(
        rollout=rejection.rollout,
        phase=rejection.phase,
        kind=SignOffKind.REQUEST,
        withdrawn_at=rejection.at,
        withdrawn_by_name=rejection.actor_name,
    )
    askers = sorted(set(answered.values_list("actor_name", flat=True)))
    answered.update(withdrawn_at=None, withdrawn_by_name="")
    return " and ".join(askers)
