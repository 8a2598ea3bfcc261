"""Which function answers which gate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import override_of
from rollout.models import SignOff
from rollout.plan.gates import Answer, Gate

Answered = tuple[Answer, str]
"""The answer, and a sentence with the evidence and the next thing to do."""
G = TypeVar("G", bound=Gate)

_answering: dict[type[Gate], Callable[[Any, Evidence], Answered]] = {}


@dataclass(frozen=True)
class GateStatus:
    """A gate's answer. Unknown is never a pass.

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


def answers(
    kind: type[G],
) -> Callable[[Callable[[G, Evidence], Answered]], Callable[[G, Evidence], Answered]]:
    """Have a function answer the gates of a class."""

    def keep(function: Callable[[G, Evidence], Answered]) -> Callable[[G, Evidence], Answered]:
        _answering[kind] = function
        return function

    return keep


def answer(gate: Gate, evidence: Evidence) -> GateStatus:
    """The answer to a gate before the phase that the evidence is about."""
    status, message = _answering[type(gate)](gate, evidence)
    if status == "pass" or not gate.overridable:
        return GateStatus(gate.name, status, message)
    override, asked = override_of(gate.name, evidence)
    return GateStatus(gate.name, status, message, override, asked, overridable=True)


def answers_of(evidence: Evidence) -> Iterator[GateStatus]:
    """The answers to all gates of the phase, in their order; each when it is asked for."""
    for gate in evidence.gates:
        yield answer(gate, evidence)


def as_data(status: GateStatus) -> dict[str, Any]:
    """An answer for the log and for the shell."""
    data: dict[str, Any] = {
        "name": status.name,
        "status": status.status,
        "message": status.message,
    }
    one = status.override
    if one is not None:
        confirmed_by, reason = one.confirmed_by_name, one.reason
        data["overridden"] = {"by": one.actor_name, "confirmed_by": confirmed_by, "reason": reason}
    return data
