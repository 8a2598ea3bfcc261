"""Which state may follow which, and when, for each kind of work; and the one way to change it."""

from collections.abc import Mapping
from typing import Any

from django.db.models import JSONField, Model
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from rollout.models import (
    AuditReport,
    AuditStatus,
    ChainState,
    Delivery,
    DeliveryState,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Restore,
    RestoreState,
    RollbackChain,
    RunState,
    ScheduledStart,
    ScheduleState,
    Snapshot,
    SnapshotState,
)

Transitions = Mapping[str, Mapping[str, str]]
"""A state to those that may follow it, each with when it does."""

RUNS: Transitions = {
    RunState.QUEUED: {
        RunState.RUNNING: "A worker takes it.",
        RunState.PAUSED: "Somebody, or a guardrail, pauses it before a worker takes it.",
        RunState.CANCELLED: "Somebody cancels it before a worker takes it.",
    },
    RunState.RUNNING: {
        RunState.PAUSING: "Somebody, or a guardrail, asks it to pause.",
        RunState.CANCELLING: "Somebody asks it to stop.",
        RunState.CANCELLED: "The rehearsal that it is part of ended.",
        RunState.DONE: "Every step is done.",
        RunState.FAILED: "A step fails.",
    },
    RunState.PAUSING: {
        RunState.PAUSED: "Its worker reaches a safe point.",
        RunState.CANCELLING: "Somebody cancels it instead.",
        RunState.CANCELLED: "The rehearsal that it is part of ended.",
        RunState.DONE: "It finished before a safe point.",
        RunState.FAILED: "The step fails before a safe point.",
    },
    RunState.PAUSED: {
        RunState.QUEUED: "Somebody resumes it: it waits for a worker again.",
        RunState.CANCELLED: "Somebody cancels it: no worker has it.",
    },
    RunState.CANCELLING: {
        RunState.CANCELLED: "Its worker reaches a safe point.",
        RunState.DONE: "It finished before a safe point.",
        RunState.FAILED: "The step fails before a safe point.",
    },
    RunState.CANCELLED: {
        RunState.QUEUED: "Somebody retries it: it continues with the step that did not end."
    },
    RunState.FAILED: {
        RunState.QUEUED: "Somebody retries it: it continues with the step that did not end."
    },
    RunState.DONE: {},
}
ROLLBACK_CHAINS: Transitions = {
    ChainState.RUNNING: {
        ChainState.DONE: "Every phase of it is rolled back.",
        ChainState.STOPPED: "A rollback failed or was cancelled, or the next one was refused.",
        ChainState.CANCELLED: "Somebody cancels it: the rollback that runs is its last.",
    },
    ChainState.DONE: {},
    ChainState.STOPPED: {},
    ChainState.CANCELLED: {},
}
AUDITS: Transitions = {
    AuditStatus.RUNNING: {
        AuditStatus.CLEAN: "Every mismatch that it found is waived, or it found none.",
        AuditStatus.MISMATCHED: "It found mismatches that nobody has waived.",
        AuditStatus.INCONCLUSIVE: "The database refused, or its phase or rehearsal ended first.",
    },
    AuditStatus.CLEAN: {
        AuditStatus.MISMATCHED: "Shadow reads find one more row in the hour of their report."
    },
    AuditStatus.MISMATCHED: {AuditStatus.CLEAN: "Every row that shadow reads found is waived."},
    AuditStatus.INCONCLUSIVE: {},
}
_AGAIN: Mapping[str, str] = {
    SnapshotState.TAKEN: "Somebody has its dump verified again.",
    SnapshotState.DELETED: "Somebody deletes its dump, or it expires.",
}
SNAPSHOTS: Transitions = {
    SnapshotState.TAKING: {
        SnapshotState.TAKEN: "The dump is whole and stored.",
        SnapshotState.CANCELLING: "Somebody asks it to stop.",
        SnapshotState.FAILED: "There will be no whole dump.",
    },
    SnapshotState.TAKEN: {
        SnapshotState.VERIFYING: "A worker begins to read the dump.",
        SnapshotState.CANCELLING: "Somebody asks it to stop.",
        SnapshotState.FAILED: "Too many workers crashed.",
    },
    SnapshotState.VERIFYING: {
        SnapshotState.VERIFYING: "The worker crashed: another reads the dump again.",
        SnapshotState.VERIFIED: "The restored copy holds the same.",
        SnapshotState.CANCELLING: "Somebody asks it to stop.",
        SnapshotState.FAILED: "The dump cannot be restored, or the copy holds something else.",
    },
    SnapshotState.CANCELLING: {
        SnapshotState.CANCELLED: "Its worker reaches a safe point.",
        SnapshotState.FAILED: "It fails before a safe point.",
    },
    SnapshotState.VERIFIED: _AGAIN,
    SnapshotState.CANCELLED: _AGAIN,
    SnapshotState.FAILED: _AGAIN,
    SnapshotState.DELETED: {},
}
RESTORES: Transitions = {
    RestoreState.WAITING: {
        RestoreState.RUNNING: "Another lead approves it.",
        RestoreState.CANCELLED: "Somebody cancels it: no worker has it.",
    },
    RestoreState.RUNNING: {
        RestoreState.DONE: "The tables are replaced.",
        RestoreState.CANCELLING: "Somebody asks it to stop.",
        RestoreState.FAILED: "Nothing was replaced.",
    },
    RestoreState.CANCELLING: {
        RestoreState.CANCELLED: "Its worker reaches a safe point.",
        RestoreState.DONE: "The tables were replaced before a safe point.",
        RestoreState.FAILED: "It fails before a safe point.",
    },
    RestoreState.DONE: {},
    RestoreState.CANCELLED: {},
    RestoreState.FAILED: {},
}
REHEARSALS: Transitions = {
    RehearsalState.MAKING: {
        RehearsalState.RUNNING: "Its database holds what the snapshot does.",
        RehearsalState.CANCELLING: "Somebody asks it to stop.",
        RehearsalState.FAILED: "There will be no such database, or its schema is not the plan's.",
    },
    RehearsalState.RUNNING: {
        RehearsalState.COMPARING: "Every phase ran and rolled back.",
        RehearsalState.CANCELLING: "Somebody asks it to stop.",
        RehearsalState.FAILED: "A phase fails, or is cancelled.",
    },
    RehearsalState.COMPARING: {
        RehearsalState.PASSED: "The rollback left no differences, and no operation failed.",
        RehearsalState.CANCELLING: "Somebody asks it to stop.",
        RehearsalState.FAILED: "The rollback left differences, or an operation failed.",
    },
    RehearsalState.CANCELLING: {
        RehearsalState.CANCELLED: "Its worker reaches a safe point.",
        RehearsalState.PASSED: "It finished before a safe point.",
        RehearsalState.FAILED: "It fails before a safe point.",
    },
    RehearsalState.PASSED: {},
    RehearsalState.FAILED: {},
    RehearsalState.CANCELLED: {},
}
_RESCHEDULED: Mapping[str, str] = {ScheduleState.WAITING: "Somebody schedules another start."}
SCHEDULED_STARTS: Transitions = {
    ScheduleState.WAITING: {
        ScheduleState.STARTED: "Its time came, and the phase started.",
        ScheduleState.NOT_STARTED: "Its time came, and the start was refused; or a clock jumped.",
        ScheduleState.CANCELLED: "Somebody cancels it, starts the phase before, or goes back.",
    },
    ScheduleState.STARTED: _RESCHEDULED,
    ScheduleState.NOT_STARTED: _RESCHEDULED,
    ScheduleState.CANCELLED: _RESCHEDULED,
}
_RESENT: Mapping[str, str] = {DeliveryState.WAITING: "Somebody sends it again."}
DELIVERIES: Transitions = {
    DeliveryState.WAITING: {
        DeliveryState.WAITING: "An attempt failed, or somebody retries it now.",
        DeliveryState.DELIVERED: "Its receiver accepts it.",
        DeliveryState.FAILED: "Its last attempt failed.",
    },
    DeliveryState.DELIVERED: _RESENT,
    DeliveryState.FAILED: _RESENT,
}
TABLES: dict[type[Model], Transitions] = {
    PhaseRun: RUNS,
    RollbackChain: ROLLBACK_CHAINS,
    AuditReport: AUDITS,
    Snapshot: SNAPSHOTS,
    Restore: RESTORES,
    Rehearsal: REHEARSALS,
    ScheduledStart: SCHEDULED_STARTS,
    Delivery: DELIVERIES,
}

ENDED = (RunState.CANCELLED, RunState.FAILED, RunState.DONE)
HALTED = (RunState.PAUSED, RunState.FAILED, RunState.CANCELLED)
"""States in which a run stands still until somebody resumes or retries it."""

# The same statement that changes the state: of two that follow each other fast, none is lost.
_BEGIN_HALT = """CASE WHEN halts #> '{-1,1}' = 'null' THEN halts
 ELSE halts || jsonb_build_array(jsonb_build_array(%s::text, NULL)) END"""
_END_HALT = """CASE WHEN halts #> '{-1,1}' = 'null'
 THEN jsonb_set(halts, '{-1,1}', to_jsonb(%s::text)) ELSE halts END"""


def paused_by(name: str, *, rule: str = "", message: str = "") -> dict[str, str]:
    """Record of who requested the pause."""
    return {"by": name, "rule": rule, "at": timezone.now().isoformat(), "message": message}


def move(
    work: Model,
    to: str,
    *,
    token: int | None = None,
    expected: Mapping[str, Any] | None = None,
    **fields: Any,
) -> bool:
    """Change the state of work if its table allows that from the present one; whether it did.

    The row is claimed by a conditional UPDATE: of two that try at once, one gets False. With a
    token, only its holder may; ``expected`` values must hold too. ``work`` has the new values
    then, and those of ``fields``.
    """
    table, model = TABLES[type(work)], type(work)
    state_field: str = getattr(model, "state_field", "state")
    before = [state for state, following in table.items() if to in following]
    rows = model._default_manager.filter(pk=work.pk, **{f"{state_field}__in": before})
    rows = rows.filter(**(expected or {}))
    if token is not None:
        rows = rows.filter(token=token)
    fields[state_field] = to
    if isinstance(work, PhaseRun):
        fields |= _run_times(to)
    elif not table[to] and hasattr(work, "finished_at"):
        fields["finished_at"] = Now()
    moved = rows.update(**fields)
    if moved:
        work.refresh_from_db(fields=None if isinstance(work, PhaseRun) else list(fields))
    return bool(moved)


def _run_times(to: str) -> dict[str, Any]:
    """When a run ended, and when it stood still; one that is retried has not ended any more."""
    now = timezone.now()
    # By the clock of all machines: a soak counts from it.
    times: dict[str, Any] = {"finished_at": Now() if to in ENDED else None}
    if to in HALTED or to == RunState.RUNNING:
        change = _END_HALT if to == RunState.RUNNING else _BEGIN_HALT
        times["halts"] = RawSQL(change, [now.isoformat()], output_field=JSONField())  # noqa: S611
    return times
