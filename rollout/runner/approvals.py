"""What people sign for: approvals, overrides of gates, and ticks of the checklist."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from rollout import gates
from rollout.gates import Evidence
from rollout.gates.overrides import override_of, rejection_of, void_reason
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused, known_user
from rollout.journal.events import Event
from rollout.journal.labels import gate_label
from rollout.journal.moments import by_the_database, in_words
from rollout.journal.rollouts import alone_with, no_phase, plan_of
from rollout.logs.texts import as_sentence
from rollout.models import Rollout, SignOff, SignOffKind
from rollout.plan.checklist import Item
from rollout.plan.gates import Approved
from rollout.runner.addressees import addressees_of, from_whom
from rollout.runner.reasons import reason_of, refuse_unread

OVERRIDE_LASTS = timedelta(hours=8)
SHORTEST_REASON = 10


def ask_for_approval(
    rollout: Rollout,
    phase: int,
    *,
    to: Collection[str] = (),
    comment: str = "",
    actor: Actor,
    source: str = "web",
) -> SignOff:
    """Request other leads' approval of a phase; requested twice, it is one request.

    ``to`` names those whom it is addressed to, by default all who may approve. A request with
    other addressees or another comment replaces the one before it.

    Raises Refused, also while a rejection is in force.
    """
    with alone_with(rollout):
        evidence = _evidence(rollout, phase)
        gate = _approved_gate(evidence)
        if gates.check_gate(gate, evidence).lets_through:
            raise Refused(f"Phase {phase} is already approved. Start it.")
        addressees = addressees_of(rollout, to, actor)
        comment = reason_of(comment, shortest=0, missing="")
        for sign_off in evidence.sign_offs(SignOffKind.REQUEST):
            same = not (addressees or comment) or (
                (sign_off.addressees, sign_off.reason) == (addressees, comment)
            )
            by_actor = sign_off.actor_name == actor.get_username()
            if same and by_actor and not void_reason(sign_off, evidence):
                return sign_off
        if (rejection := rejection_of(evidence)) is not None:
            raise Refused(
                f"{rejection.actor_name} rejected phase {phase}: {as_sentence(rejection.reason)} "
                "Change the plan, or have the rejection withdrawn, then request approval again."
            )
        _withdraw_requests(rollout, phase, actor)
        asked = _sign(evidence, SignOffKind.REQUEST, actor, lasts=gate.valid_for, reason=comment)
        asked.addressees = addressees
        asked.save(update_fields=["addressees"])
        activity_log.record(
            Event.APPROVAL_ASKED_FOR,
            f"Requested approval of phase {phase}{from_whom(asked)}.{_after(comment)}",
            on=asked,
            actor=actor,
            source=source,
            addressees=addressees,
        )
    return asked


def approve(
    rollout: Rollout,
    phase: int,
    *,
    seen: str,
    comment: str = "",
    actor: Actor,
    source: str = "web",
) -> SignOff:
    """Approve a phase as the plan has it now; pressed twice, it is one approval.

    ``seen`` is the digest of the phase that the approver has read. It takes the place of the
    approver's own rejection. Raises Refused.
    """
    user = known_user(actor, "approve a phase")
    with alone_with(rollout):
        evidence = _evidence(rollout, phase)
        gate = _approved_gate(evidence)
        if gates.is_done(evidence.run):
            raise Refused(f"Phase {phase} is already complete and needs no approval.")
        refuse_unread(evidence.plan, phase, seen, "approve it")
        for sign_off in evidence.sign_offs(SignOffKind.APPROVAL):
            if sign_off.actor_id == user.pk and not void_reason(sign_off, evidence):
                return sign_off
        comment = reason_of(comment, shortest=0, missing="")
        _withdraw_own(SignOffKind.REJECTION, rollout, phase, user)
        given = _sign(evidence, SignOffKind.APPROVAL, actor, lasts=gate.valid_for, reason=comment)
        _withdraw_requests(rollout, phase, actor)
        assert given.expires_at is not None
        activity_log.record(
            Event.APPROVED,
            f"Approved phase {phase} (plan {given.plan_digest}, phase {seen}), valid until "
            f"{in_words(given.expires_at)}.{_after(comment)}",
            on=given,
            actor=actor,
            source=source,
        )
    return given


def reject(
    rollout: Rollout, phase: int, *, seen: str, reason: str, actor: Actor, source: str = "web"
) -> SignOff:
    """Reject a phase as the plan has it now; pressed twice, it is one rejection.

    It answers every request, takes the place of the rejecter's own approval, and blocks the start
    until the phase changes, it is withdrawn, or it expires. Raises Refused.
    """
    user = known_user(actor, "reject a phase")
    with alone_with(rollout):
        evidence = _evidence(rollout, phase)
        gate = _approved_gate(evidence)
        if gates.is_done(evidence.run):
            raise Refused(f"Phase {phase} is done already. Roll it back instead.")
        refuse_unread(evidence.plan, phase, seen, "reject it")
        reason = reason_of(
            reason,
            shortest=SHORTEST_REASON,
            missing=f"Say what has to change, in at least {SHORTEST_REASON} characters.",
        )
        for rejection in evidence.sign_offs(SignOffKind.REJECTION):
            if rejection.actor_id == user.pk and not void_reason(rejection, evidence):
                return rejection
        _withdraw_own(SignOffKind.APPROVAL, rollout, phase, user)
        rejected = _sign(
            evidence, SignOffKind.REJECTION, actor, lasts=gate.valid_for, reason=reason
        )
        # By this moment they are known if the rejection is withdrawn: they stand again then.
        _withdraw_requests(rollout, phase, actor, at=rejected.at)
        activity_log.record(
            Event.REJECTED,
            f"Rejected phase {phase} as {seen}: {reason}",
            on=rejected,
            actor=actor,
            source=source,
        )
    return rejected


def override(
    rollout: Rollout, phase: int, gate: str, *, reason: str, actor: Actor, source: str = "web"
) -> SignOff:
    """Let a phase start though a gate does not pass, for a reason that stays in sight.

    Before a destructive or restrictive phase it waits for a second lead. Raises Refused.
    """
    user = known_user(actor, "override a gate")
    with alone_with(rollout):
        evidence = _evidence(rollout, phase)
        status = _status_of(evidence, gate)
        reason = reason_of(
            reason,
            shortest=SHORTEST_REASON,
            missing=f"Give a reason of at least {SHORTEST_REASON} characters: it is shown on the "
            "rollout's page and kept in the activity log.",
        )
        if status.override is not None:
            return status.override
        if status.asked is not None:
            if status.asked.actor_id == user.pk:
                return status.asked
            raise Refused(
                f"{status.asked.actor_name} already requested an override of gate "
                f"“{status.label}”. Confirm it, or have it withdrawn."
            )
        given = _sign(
            evidence,
            SignOffKind.OVERRIDE,
            actor,
            lasts=OVERRIDE_LASTS,
            subject=status.name,
            reason=reason,
        )
        waits = " Another lead must confirm it." if evidence.plan.is_guarded(phase) else ""
        activity_log.record(
            Event.GATE_OVERRIDDEN,
            f"Overrode gate “{status.label}” of phase {phase}: {reason}{waits}",
            on=given,
            actor=actor,
            source=source,
            gate=gates.as_data(status),
        )
    return given


def confirm_override(sign_off: SignOff, *, actor: Actor, source: str = "web") -> None:
    """Confirm another lead's override before a destructive or restrictive phase. Raises Refused."""
    user = known_user(actor, "confirm an override")
    with alone_with(sign_off.rollout):
        sign_off.refresh_from_db()
        evidence = _evidence(sign_off.rollout, sign_off.phase)
        if sign_off.kind != SignOffKind.OVERRIDE:
            raise Refused("Only overrides are confirmed by a second lead; this is no override.")
        if sign_off.confirmed_at is not None:
            raise Refused(f"{sign_off.confirmed_by_name} has already confirmed this override.")
        if sign_off.actor_id == user.pk:
            raise Refused("You requested this override; another lead must confirm it.")
        reason = void_reason(sign_off, evidence)
        if reason:
            raise Refused(f"The override is no longer valid: {reason} Request it again.")
        if not evidence.plan.is_guarded(sign_off.phase):
            raise Refused(
                f"Phase {sign_off.phase} is neither destructive nor restrictive, so its overrides "
                "need no second lead."
            )
        if override_of(sign_off.subject, evidence)[1] != sign_off:
            raise Refused(
                f"A newer override of gate “{gate_label(sign_off.subject)}” replaced this one. "
                "Reload the page."
            )
        sign_off.confirmed_by_id, sign_off.confirmed_by_name = user.pk, actor.get_username()
        sign_off.confirmed_at = timezone.now()
        sign_off.save(update_fields=["confirmed_by", "confirmed_by_name", "confirmed_at"])
        activity_log.record(
            Event.OVERRIDE_CONFIRMED,
            f"Confirmed {sign_off.actor_name}'s override of gate "
            f"“{gate_label(sign_off.subject)}” of phase {sign_off.phase}: {sign_off.reason}",
            on=sign_off,
            actor=actor,
            source=source,
        )


def tick(rollout: Rollout, item: str, *, actor: Actor, source: str = "web") -> None:
    """Tick an item of the checklist in somebody's name. Raises Refused."""
    entry = _item(rollout, item)
    with alone_with(rollout):
        evidence = _evidence(rollout, 0)
        if any(sign_off.subject == item for sign_off in evidence.sign_offs(SignOffKind.TICK)):
            return
        sign_off = _sign(evidence, SignOffKind.TICK, actor, lasts=None, subject=item)
        activity_log.record(
            Event.ITEM_TICKED,
            f"Marked “{entry.text}” as done.",
            on=sign_off,
            actor=actor,
            source=source,
        )


def untick(rollout: Rollout, item: str, *, actor: Actor, source: str = "web") -> None:
    """Take a tick back. Raises Refused."""
    entry = _item(rollout, item)
    with alone_with(rollout):
        sign_off = SignOff.objects.filter(
            rollout=rollout, kind=SignOffKind.TICK, subject=item, withdrawn_at=None
        ).first()
        if sign_off is None:
            return
        sign_off.withdrawn_at, sign_off.withdrawn_by_name = timezone.now(), actor.get_username()
        sign_off.save(update_fields=["withdrawn_at", "withdrawn_by_name"])
        activity_log.record(
            Event.TICK_TAKEN_BACK,
            f"Reopened “{entry.text}”.",
            on=sign_off,
            actor=actor,
            source=source,
        )


def _evidence(rollout: Rollout, phase: int) -> Evidence:
    plan = plan_of(rollout)
    if not 0 <= phase < len(plan.phases):
        raise Refused(no_phase(phase))
    return Evidence(rollout, phase, plan=plan)


def _approved_gate(evidence: Evidence) -> Approved:
    for gate in evidence.gates:
        if isinstance(gate, Approved):
            return gate
    raise Refused(f"Phase {evidence.number} needs no approval in {evidence.rollout.environment}.")


def _status_of(evidence: Evidence, name: str) -> gates.GateStatus:
    """The answer of a gate, by its name or label, that can be overridden now. Raises Refused."""
    for gate in evidence.gates:
        if name in (gate.name, label := gate_label(gate.name)):
            status = gates.check_gate(gate, evidence)
            if status.status == "pass":
                raise Refused(f"Gate “{label}” passes and needs no override.")
            if not gate.overridable:
                raise Refused(f"Gate “{label}” cannot be overridden. {status.message}")
            return status
    raise Refused(f"Phase {evidence.number} has no gate “{name}”. Look at its page for the names.")


def _item(rollout: Rollout, item_id: str) -> Item:
    checklist = plan_of(rollout).checklist
    for item in checklist:
        if item.id == item_id:
            if type(item) is not Item:
                raise Refused(f"“{item.text}” is checked automatically. Nobody marks it as done.")
            return item
    known = ", ".join(item.id for item in checklist if type(item) is Item)
    raise Refused(f"Unknown checklist item “{item_id}”. Items: {known or 'none'}.")


def _sign(
    evidence: Evidence,
    kind: SignOffKind,
    actor: Actor,
    *,
    lasts: timedelta | None,
    subject: str = "",
    reason: str = "",
) -> SignOff:
    now = by_the_database()
    return SignOff.objects.create(
        rollout=evidence.rollout,
        phase=evidence.number,
        kind=kind,
        subject=subject,
        reason=reason,
        actor=actor if isinstance(actor, get_user_model()) else None,
        actor_name=actor.get_username(),
        at=now,
        plan_digest=evidence.plan.digest,
        phase_digest=evidence.plan.digest_of(evidence.number),
        expires_at=now + lasts if lasts is not None else None,
    )


def _withdraw_requests(
    rollout: Rollout, phase: int, actor: Actor, *, at: datetime | None = None
) -> None:
    SignOff.objects.filter(
        rollout=rollout, phase=phase, kind=SignOffKind.REQUEST, withdrawn_at=None
    ).update(withdrawn_at=at or timezone.now(), withdrawn_by_name=actor.get_username())


def _withdraw_own(kind: SignOffKind, rollout: Rollout, phase: int, user: AbstractBaseUser) -> None:
    SignOff.objects.filter(
        rollout=rollout, phase=phase, kind=kind, actor_id=user.pk, withdrawn_at=None, run=None
    ).update(withdrawn_at=timezone.now(), withdrawn_by_name=user.get_username())


def _after(comment: str) -> str:
    return f" Comment: {comment}" if comment else ""
