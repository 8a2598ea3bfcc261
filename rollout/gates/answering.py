"""Which function answers which gate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from rollout.gates.evidence import Evidence
from rollout.plan.gates import Answer, Gate

Answered = tuple[Answer, str]
"""The answer, and a sentence with the evidence and the next thing to do."""
G = TypeVar("G", bound=Gate)

_answering: dict[type[Gate], Callable[[Any, Evidence], Answered]] = {}


@dataclass(frozen=True)
class GateStatus:
    """A gate's answer. Unknown is never a pass."""

    name: str
    status: Answer
    message: str

    @property
    def lets_through(self) -> bool:
        return self.status == "pass"


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
    return GateStatus(gate.name, *_answering[type(gate)](gate, evidence))


def answers_of(evidence: Evidence) -> Iterator[GateStatus]:
    """The answers to all gates of the phase, in their order; each when it is asked for."""
    for gate in evidence.plan.gates_of(evidence.number):
        yield answer(gate, evidence)
