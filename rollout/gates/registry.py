"""Which function checks which gate, and what it answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from rollout.gates.evidence import Evidence
from rollout.gates.overrides import override_of
from rollout.journal.labels import gate_label
from rollout.models import SignOff
from rollout.plan.gates import Approved, AuditClean, Gate

# Pending waits for a person or a clock; fail was tried and is bad; unknown could not be found out.
# Only pass counts as pass.
Status = Literal["pass", "fail", "pending", "unknown"]
# The one next thing to do about a gate or an item of the checklist that does not pass.
Action = Literal[
    "accept_files",
    "approve",
    "check_database",
    "check_schema",
    "complete_checklist",
    "create_environment",
    "decide_values",
    "edit_plan",
    "end_sessions",
    "export_types",
    "mark_done",
    "override",
    "rehearse",
    "release_hold",
    "request_approval",
    "reset_statistics",
    "resume_phase",
    "retry_phase",
    "review_audit",
    "review_mapping",
    "review_monitoring",
    "roll_back_phase",
    "run_smoke_tests",
    "schedule_start",
    "see_rejection",
    "start_audit",
    "start_phase",
    "take_snapshot",
    "update_rows",
    "wait",
]


@dataclass(frozen=True)
class GateResult:
    """A status, with its evidence and the next thing to do as a sentence and as a keyword.

    ``ready_at`` is when a wait will be over, where that is known, and ``progress`` the share of it
    that has passed, from 0 to 1.
    """

    status: Status
    message: str
    action: Action | None = None
    ready_at: datetime | None = None
    progress: float | None = None


def passed(message: str) -> GateResult:
    return GateResult("pass", message)


def failed(action: Action, message: str) -> GateResult:
    return GateResult("fail", message, action)


def pending(
    action: Action,
    message: str,
    *,
    ready_at: datetime | None = None,
    progress: float | None = None,
) -> GateResult:
    return GateResult("pending", message, action, ready_at, progress)


def unknown(action: Action, message: str) -> GateResult:
    return GateResult("unknown", message, action)


G = TypeVar("G", bound=Gate)
Check = Callable[[G, Evidence], GateResult]

_checks: dict[type[Gate], Callable[[Any, Evidence], GateResult]] = {}


@dataclass(frozen=True)
class GateStatus:
    """What a gate was found to be.

    ``override`` is in force; ``asked`` is one that waits for a second lead.
    """

    name: str
    status: Status
    message: str
    action: Action | None = None
    ready_at: datetime | None = None
    progress: float | None = None
    override: SignOff | None = None
    asked: SignOff | None = None
    overridable: bool = False

    @property
    def shown(self) -> str:
        """The word for its badge."""
        if self.override is not None:
            return "overridden"
        return "approved" if self.waits_for_other_lead else self.status

    @property
    def finds_wrong_rows(self) -> bool:
        """Whether the newest audit found mismatched rows; a guardrail may hold a while longer."""
        return self.name == AuditClean.name and self.action == "review_audit"

    @property
    def waits_for_other_lead(self) -> bool:
        """Whether the phase is approved, by the very lead who looks at it: another has to start."""
        return self.name == Approved.name and self.action == "wait"

    @property
    def label(self) -> str:
        """Its name for people."""
        return gate_label(self.name)

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
    result = _checks[type(gate)](gate, evidence)
    overridable = gate.overridable and result.status != "pass"
    override, asked = override_of(gate.name, evidence) if overridable else (None, None)
    return GateStatus(
        name=gate.name,
        **vars(result),
        override=override,
        asked=asked,
        overridable=overridable,
    )


def check_gates(evidence: Evidence) -> Iterator[GateStatus]:
    """Check all gates of the phase, in their order; each only when its status is requested."""
    for gate in evidence.gates:
        yield check_gate(gate, evidence)


def as_data(status: GateStatus) -> dict[str, Any]:
    """A gate's status for the log and for the shell."""
    data: dict[str, Any] = {
        "name": status.name,
        "status": status.status,
        "message": status.message,
    }
    if status.action is not None:
        data["action"] = status.action
    if status.ready_at is not None:
        data["ready_at"] = status.ready_at.isoformat()
    if (override := status.override) is not None:
        data["overridden"] = {
            "by": override.actor_name,
            "confirmed_by": override.confirmed_by_name,
            "reason": override.reason,
        }
    return data
