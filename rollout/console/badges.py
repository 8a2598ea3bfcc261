"""How a state looks: a word, a tone and a shape, so that no state is told by colour alone."""

from collections.abc import Collection
from typing import NamedTuple

from rollout.engine.health import Status
from rollout.engine.preflight import Level
from rollout.gates.checklists import ItemStatus
from rollout.models import (
    AuditStatus,
    Delivery,
    DeliveryState,
    RehearsalState,
    RestoreState,
    RunState,
    SnapshotState,
    StepState,
    Way,
)


class Look(NamedTuple):
    """``tone`` is good, warn, bad, info or empty; ``icon`` names a symbol of ``icons.html``."""

    label: str
    tone: str
    icon: str


PENDING = "pending"
"""The state of a phase of which nothing remains: not started, or rolled back."""
COMPLETE = Look("Complete", "good", "done")
"""Of a rollout all of whose phases are done."""

_FORWARD: dict[str, Look] = {
    PENDING: Look("Not started", "", "pending"),
    RunState.QUEUED: Look("Queued", "info", "queued"),
    RunState.RUNNING: Look("Running", "info", "running"),
    RunState.PAUSING: Look("Pausing", "warn", "paused"),
    RunState.PAUSED: Look("Paused", "warn", "paused"),
    RunState.CANCELLING: Look("Cancelling", "warn", "cancelled"),
    RunState.CANCELLED: Look("Cancelled", "warn", "cancelled"),
    RunState.FAILED: Look("Failed", "bad", "failed"),
    RunState.DONE: Look("Done", "good", "done"),
}
_BACKWARD: dict[str, Look] = {
    PENDING: Look("Rolled back", "", "back"),
    RunState.QUEUED: Look("Rollback queued", "info", "queued"),
    RunState.RUNNING: Look("Rolling back", "info", "running"),
    RunState.PAUSING: Look("Pausing rollback", "warn", "paused"),
    RunState.PAUSED: Look("Rollback paused", "warn", "paused"),
    RunState.CANCELLING: Look("Cancelling rollback", "warn", "cancelled"),
    RunState.CANCELLED: Look("Rollback cancelled", "warn", "cancelled"),
    RunState.FAILED: Look("Rollback failed", "bad", "failed"),
    RunState.DONE: Look("Rolled back", "", "back"),
}
_REPAIR: dict[str, Look] = {
    RunState.QUEUED: Look("Repair queued", "info", "queued"),
    RunState.RUNNING: Look("Repairing", "info", "running"),
    RunState.PAUSING: Look("Pausing repair", "warn", "paused"),
    RunState.PAUSED: Look("Repair paused", "warn", "paused"),
    RunState.CANCELLING: Look("Cancelling repair", "warn", "cancelled"),
    RunState.CANCELLED: Look("Repair cancelled", "warn", "cancelled"),
    RunState.FAILED: Look("Repair failed", "bad", "failed"),
    RunState.DONE: Look("Repaired", "good", "done"),
}
_WAYS: dict[str, dict[str, Look]] = {
    Way.FORWARD: _FORWARD,
    Way.BACKWARD: _BACKWARD,
    Way.REPAIR: _REPAIR,
}
_STEP = {
    StepState.RUNNING: Look("Running", "info", "running"),
    StepState.DONE: Look("Done", "good", "done"),
    StepState.FAILED: Look("Failed", "bad", "failed"),
}
_STEP_BACK = {
    StepState.RUNNING: Look("Rolling back", "info", "running"),
    StepState.DONE: Look("Rolled back", "", "back"),
    StepState.FAILED: Look("Rollback failed", "bad", "failed"),
}
_AUDIT = {
    AuditStatus.RUNNING: Look("Running", "info", "running"),
    AuditStatus.CLEAN: Look("Clean", "good", "done"),
    AuditStatus.MISMATCHED: Look("Mismatched", "bad", "failed"),
    AuditStatus.INCONCLUSIVE: Look("Inconclusive", "warn", "unknown"),
}
_SNAPSHOT = {
    SnapshotState.TAKING: Look("Taking", "info", "running"),
    SnapshotState.TAKEN: Look("Taken", "info", "queued"),
    SnapshotState.VERIFYING: Look("Verifying", "info", "running"),
    SnapshotState.VERIFIED: Look("Verified", "good", "done"),
    SnapshotState.CANCELLING: Look("Cancelling", "warn", "cancelled"),
    SnapshotState.CANCELLED: Look("Cancelled", "warn", "cancelled"),
    SnapshotState.FAILED: Look("Failed", "bad", "failed"),
    SnapshotState.DELETED: Look("Deleted", "", "cancelled"),
}
_REHEARSAL = {
    RehearsalState.MAKING: Look("Creating database", "info", "running"),
    RehearsalState.RUNNING: Look("Rehearsing", "info", "running"),
    RehearsalState.COMPARING: Look("Comparing", "info", "running"),
    RehearsalState.CANCELLING: Look("Cancelling", "warn", "cancelled"),
    RehearsalState.PASSED: Look("Passed", "good", "done"),
    RehearsalState.FAILED: Look("Failed", "bad", "failed"),
    RehearsalState.CANCELLED: Look("Cancelled", "warn", "cancelled"),
}
_RESTORE = {
    RestoreState.WAITING: Look("Awaiting approval", "warn", "paused"),
    RestoreState.RUNNING: Look("Restoring", "info", "running"),
    RestoreState.CANCELLING: Look("Cancelling", "warn", "cancelled"),
    RestoreState.DONE: Look("Restored", "good", "done"),
    RestoreState.FAILED: Look("Failed", "bad", "failed"),
    RestoreState.CANCELLED: Look("Cancelled", "warn", "cancelled"),
}
_GATE = {
    "pass": Look("Passed", "good", "done"),
    "fail": Look("Failed", "bad", "failed"),
    "pending": Look("Pending", "", "queued"),
    "unknown": Look("Unknown", "warn", "unknown"),
    "overridden": Look("Overridden", "warn", "warning"),
}
_PREFLIGHT: dict[Level, Look] = {
    "blocks": Look("Blocks", "bad", "failed"),
    "warns": Look("Warns", "warn", "warning"),
    "unknown": Look("Unknown", "warn", "unknown"),
    "info": Look("Info", "info", "queued"),
    "pass": Look("Passed", "good", "done"),
}
_SIGNAL: dict[Status, Look] = {
    "ok": Look("OK", "good", "done"),
    "throttle": Look("Throttling", "warn", "warning"),
    "stop": Look("Paused by signal", "bad", "failed"),
    "unknown": Look("Unknown", "", "unknown"),
}

_RULE = {
    "kept": Look("OK", "good", "done"),
    "broken": Look("Breached", "bad", "failed"),
    "inconclusive": Look("Inconclusive", "", "unknown"),
    "error": Look("Not evaluated", "warn", "warning"),
}


def of_phase(state: str, way: str) -> Look:
    """Of a phase, or of a run of it or beside it."""
    return _WAYS[way][state]


_RERUN = {
    "applied": Look("Applied", "good", "done"),
    "looks": Look("No change", "good", "done"),
    "changed": Look("Changed", "bad", "failed"),
    "unknown": Look("Unknown", "warn", "warning"),
}


def of_step(state: str, way: str, of_run: str = "", *, held: bool = False) -> Look:
    """``of_run`` is the state of the step's run: a step that has begun runs only while that does.
    ``held`` by a health signal, it runs no more than a paused one."""
    if state == StepState.RUNNING and of_run not in ("", PENDING, RunState.RUNNING):
        return _FORWARD[of_run]
    if state == StepState.RUNNING and held:
        return Look("Paused by signal", "warn", "paused")
    return (_STEP_BACK if way == Way.BACKWARD else _STEP)[StepState(state)]


def of_audit(status: str) -> Look:
    return _AUDIT[AuditStatus(status)]


def of_snapshot(state: str) -> Look:
    return _SNAPSHOT[SnapshotState(state)]


def of_rehearsal(state: str) -> Look:
    return _REHEARSAL[RehearsalState(state)]


def of_restore(state: str) -> Look:
    return _RESTORE[RestoreState(state)]


def of_gate(status: str) -> Look:
    return _GATE[status]


def of_preflight(level: Level) -> Look:
    return _PREFLIGHT[level]


def of_rerun(answer: str) -> Look:
    """Of a step, by what a second run of it would find."""
    return _RERUN[answer]


def of_health(tones: Collection[str]) -> Look:
    """Of a rollout, by the tones of what is wrong with it."""
    if "bad" in tones:
        return Look("Action needed", "bad", "failed")
    return (
        Look("Warning", "warn", "warning") if "warn" in tones else Look("Healthy", "good", "done")
    )


def of_item(one: ItemStatus) -> Look:
    """Of an item of the checklist."""
    if one.status == "pass":
        return Look("Done", "good", "done")
    if one.ticked_by_hand:
        return Look("Open", "", "queued")
    return _GATE[one.status]


def of_signal(status: Status) -> Look:
    """Of a health signal: what it has the job do."""
    return _SIGNAL[status]


def of_verdict(verdict: str) -> Look:
    """What an operation's latency and errors came to."""
    tone, icon = {
        "no regression": ("good", "done"),
        "slower": ("warn", "failed"),
        "failing": ("bad", "failed"),
    }.get(verdict, ("", "unknown"))
    return Look(verdict.capitalize(), tone, icon)


def of_rule(verdict: str) -> Look:
    """What a rule, or one window of it, came to."""
    return _RULE[verdict]


def of_delivery(delivery: Delivery) -> Look:
    """A delivery that was tried in vain looks otherwise than one whose turn has not come."""
    if delivery.state == DeliveryState.WAITING and delivery.attempts:
        return Look("Retrying", "warn", "queued")
    return {
        DeliveryState.WAITING: Look("Waiting", "info", "queued"),
        DeliveryState.DELIVERED: Look("Delivered", "good", "done"),
        DeliveryState.FAILED: Look("Failed", "bad", "failed"),
    }[DeliveryState(delivery.state)]
