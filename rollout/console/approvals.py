"""What people signed about a rollout, as its pages show it."""

from dataclasses import dataclass

from rollout.gates import Evidence
from rollout.gates.overrides import why_void
from rollout.models import SignOff, SignOffKind


@dataclass(frozen=True)
class Signed:
    """An approval or override: ``void`` says why it does not count, empty where it does."""

    one: SignOff
    void: str
    waits: bool = False
    """For a second lead."""

    @property
    def may_be_withdrawn(self) -> bool:
        return self.one.withdrawn_at is None and self.one.run_id is None and not self.void


def approvals_of(evidence: Evidence) -> list[Signed]:
    """The approvals of the phase, the newest first."""
    return [
        Signed(one, why_void(one, evidence)) for one in evidence.sign_offs(SignOffKind.APPROVAL)
    ]


def requests_of(evidence: Evidence) -> list[SignOff]:
    """Who asks for approval of the phase, and was not answered."""
    found = evidence.sign_offs(SignOffKind.REQUEST)
    return [one for one in found if not why_void(one, evidence)]


def overrides_of(evidence: Evidence) -> list[Signed]:
    """Every override of a gate that there ever was in the rollout, the newest first."""
    found = []
    for one in evidence.facts.sign_offs:
        if one.kind == SignOffKind.OVERRIDE:
            of_phase = evidence.of_phase(one.phase)
            void = "" if one.run_id is not None else why_void(one, of_phase)
            two = evidence.plan.is_guarded(one.phase) and one.confirmed_at is None
            found.append(Signed(one, void, waits=two and not void))
    return found
