"""What people signed about a rollout, as its pages show it."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import F
from django.utils import timezone

from rollout.gates import Evidence
from rollout.gates.overrides import void_reason
from rollout.journal.environments import home_of
from rollout.models import Rollout, SignOff, SignOffKind
from rollout.permissions import people_with
from rollout.runner.reminders import next_possible

# Enough to choose from by name; a request to all needs no names.
MAX_APPROVERS = 50


@dataclass(frozen=True)
class SignOffView:
    """An approval or override: ``void`` says why it does not count, empty where it does."""

    sign_off: SignOff
    void: str
    waits: bool = False
    """For a second lead."""

    @property
    def may_be_withdrawn(self) -> bool:
        return self.sign_off.withdrawn_at is None and self.sign_off.run_id is None and not self.void


def approvals_of(evidence: Evidence) -> list[SignOffView]:
    """The approvals of the phase, the newest first."""
    return [
        SignOffView(sign_off, void_reason(sign_off, evidence))
        for sign_off in evidence.sign_offs(SignOffKind.APPROVAL)
    ]


def requests_of(evidence: Evidence) -> list[SignOff]:
    """The requests for approval of the phase that nobody has answered."""
    return _in_force(SignOffKind.REQUEST, evidence)


def answered_of(evidence: Evidence) -> list[SignOff]:
    """The requests for approval of the phase as it is now that other leads have answered."""
    answered = evidence.rollout.sign_offs.filter(
        kind=SignOffKind.REQUEST,
        phase=evidence.number,
        phase_digest=evidence.plan.digest_of(evidence.number),
        withdrawn_at__isnull=False,
    )
    return list(answered.exclude(withdrawn_by_name=F("actor_name")))


def may_be_repeated(request: SignOff) -> bool:
    """Whether a person may remind of a request now: not again within the hour."""
    return next_possible(request) <= timezone.now()


def approvers(rollout: Rollout, user: User) -> list[str]:
    """The names of those whom a user can address a request to."""
    people = people_with("approve_rollout", home_of(rollout.environment)).exclude(pk=user.pk)
    return [person.get_username() for person in people[:MAX_APPROVERS]]


def rejections_of(evidence: Evidence) -> list[SignOff]:
    """The rejections of the phase that are in force."""
    return _in_force(SignOffKind.REJECTION, evidence)


def _in_force(kind: SignOffKind, evidence: Evidence) -> list[SignOff]:
    return [s for s in evidence.sign_offs(kind) if not void_reason(s, evidence)]


def overrides_of(evidence: Evidence) -> list[SignOffView]:
    """Every override of a gate that there ever was in the rollout, the newest first."""
    overrides = []
    for sign_off in evidence.facts.sign_offs:
        if sign_off.kind == SignOffKind.OVERRIDE:
            of_phase = evidence.of_phase(sign_off.phase)
            void = "" if sign_off.run_id is not None else void_reason(sign_off, of_phase)
            two = evidence.plan.is_guarded(sign_off.phase) and sign_off.confirmed_at is None
            overrides.append(SignOffView(sign_off, void, waits=two and not void))
    return overrides
