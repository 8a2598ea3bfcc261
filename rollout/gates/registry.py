"""Which function checks which gate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import override_of
from rollout.models import SignOff
from rollout.plan.gates import Answer, Gate

# The answer, and a sentence with the evidence and the next thing to do.
GateResult = tuple[Answer, str]
G = TypeVar("G", bound=Gate)
Check = Callable[[G, Evidence], GateResult]

_checks: dict[type[Gate], Callable[[Any, Evidence], GateResult]] = {}


@dataclass(frozen=True)
class GateStatus:
    """What a gate was found to be. Unknown is never a pass.

    ``override`` is in force; ``asked`` is one that waits for a second lead.
    """

    name: str
    status: Answer
    message: str
    override: SignOff | None = None
    asked: SignOff | None = None
    overridable: bool = False

    @property
    def shown(self) -> str:
        """The word for its badge."""
        return "overridden" if self.override is not None else self.status

    @property
    def slug(self) -> str:
        """Its name as a part of an address."""
        return self.name.replace(" ", "-")

    @property
    def lets_through(self) -> bool:
        return self.status == "pass" or self.override is not None


def check(kind: type[G]) -> Callable[[Check[G]], Check[G]]:
    """Have a function check the gates of a class."""

    def register(function: Check[G]) -> Check[G]:
        _checks[kind] = function
        return function

    return register


def check_gate(gate: Gate, evidence: Evidence) -> GateStatus:
    """Check a gate before the phase that the evidence is about."""
    status, message = _checks[type(gate)](gate, evidence)
    if status == "pass" or not gate.overridable:
        return GateStatus(gate.name, status, message)
    override, asked = override_of(gate.name, evidence)
    return GateStatus(gate.name, status, message, override, asked, overridable=True)


def check_gates(evidence: Evidence) -> Iterator[GateStatus]:
    """Check all gates of the phase, in their order; each only when its status is asked for."""
    for gate in evidence.gates:
        yield check_gate(gate, evidence)


def as_data(status: GateStatus) -> dict[str, Any]:
    """A gate's status for the log and for the shell."""
    data: dict[str, Any] = {
        "name": status.name,
        "status": status.status,
        "message": status.message,
    }
    if (override := status.override) is not None:
        data["overridden"] = {
            "by": override.actor_name,
            "confirmed_by": override.confirmed_by_name,
            "reason": override.reason,
        }
    return data
