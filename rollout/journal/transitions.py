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

R = RunState
RUNS: Transitions = {
    R.QUEUED: {
        R.RUNNING: "A worker takes it.",
        R.PAUSED: "Somebody, or a guardrail, pauses it before a worker takes it.",
        R.CANCELLED: "Somebody cancels it before a worker takes it.",
    },
    R.RUNNING: {
        R.PAUSING: "Somebody, or a guardrail, asks it to pause.",
        R.CANCELLING: "Somebody asks it to stop.",
        R.CANCELLED: "The rehearsal that it is part of ended.",
        R.DONE: "Every step is done.",
        R.FAILED: "A step fails.",
    },
    R.PAUSING: {
        R.PAUSED: "Its worker reaches a safe point.",
        R.CANCELLING: "Somebody cancels it instead.",
        R.CANCELLED: "The rehearsal that it is part of ended.",
        R.DONE: "It finished before a safe point.",
        R.FAILED: "The step fails before a safe point.",
    },
    R.PAUSED: {
        R.QUEUED: "Somebody resumes it: it waits for a worker again.",
        R.CANCELLED: "Somebody cancels it: no worker has it.",
    },
    R.CANCELLING: {
        R.CANCELLED: "Its worker reaches a safe point.",
        R.DONE: "It finished before a safe point.",
        R.FAILED: "The step fails before a safe point.",
    },
    R.CANCELLED: {R.QUEUED: "Somebody retries it: it continues with the step that did not end."},
    R.FAILED: {R.QUEUED: "Somebody retries it: it continues with the step that did not end."},
    R.DONE: {},
}
C = ChainState
ROLLBACK_CHAINS: Transitions = {
    C.RUNNING: {
        C.DONE: "Every phase of it is rolled back.",
        C.STOPPED: "A rollback failed or was cancelled, or the next one was refused.",
        C.CANCELLED: "Somebody cancels it: the rollback that runs is its last.",
    },
    C.DONE: {},
    C.STOPPED: {},
    C.CANCELLED: {},
}
A = AuditStatus
AUDITS: Transitions = {
    A.RUNNING: {
        A.CLEAN: "Every mismatch that it found is waived, or it found none.",
        A.MISMATCHED: "It found mismatches that nobody has waived.",
        A.INCONCLUSIVE: "The database refused, or its phase or rehearsal ended before it did.",
    },
    A.CLEAN: {A.MISMATCHED: "Shadow reads find one more row in the hour of their report."},
    A.MISMATCHED: {A.CLEAN: "Every row that shadow reads found is waived."},
    A.INCONCLUSIVE: {},
}
S = SnapshotState
_AGAIN: Mapping[str, str] = {
    S.TAKEN: "Somebody has its dump verified again.",
    S.DELETED: "Somebody deletes its dump, or it expires.",
}
SNAPSHOTS: Transitions = {
    S.TAKING: {
        S.TAKEN: "The dump is whole and stored.",
        S.CANCELLING: "Somebody asks it to stop.",
        S.FAILED: "There will be no whole dump.",
    },
    S.TAKEN: {
        S.VERIFYING: "A worker begins to read the dump.",
        S.CANCELLING: "Somebody asks it to stop.",
        S.FAILED: "Too many workers crashed.",
    },
    S.VERIFYING: {
        S.VERIFYING: "The worker crashed: another reads the dump again.",
        S.VERIFIED: "The restored copy holds the same.",
        S.CANCELLING: "Somebody asks it to stop.",
        S.FAILED: "The dump cannot be restored, or the copy holds something else.",
    },
    S.CANCELLING: {
        S.CANCELLED: "Its worker reaches a safe point.",
        S.FAILED: "It fails before a safe point.",
    },
    S.VERIFIED: _AGAIN,
    S.CANCELLED: _AGAIN,
    S.FAILED: _AGAIN,
    S.DELETED: {},
}
P = RestoreState
RESTORES: Transitions = {
    P.WAITING: {
        P.RUNNING: "Another lead approves it.",
        P.CANCELLED: "Somebody cancels it: no worker has it.",
    },
    P.RUNNING: {
        P.DONE: "The tables are replaced.",
        P.CANCELLING: "Somebody asks it to stop.",
        P.FAILED: "Nothing was replaced.",
    },
    P.CANCELLING: {
        P.CANCELLED: "Its worker reaches a safe point.",
        P.DONE: "The tables were replaced before a safe point.",
        P.FAILED: "It fails before a safe point.",
    },
    P.DONE: {},
    P.CANCELLED: {},
    P.FAILED: {},
}
E = RehearsalState
REHEARSALS: Transitions = {
    E.MAKING: {
        E.RUNNING: "Its database holds what the snapshot does.",
        E.CANCELLING: "Somebody asks it to stop.",
        E.FAILED: "There will be no such database, or its schema is not the plan's.",
    },
    E.RUNNING: {
        E.COMPARING: "Every phase ran and rolled back.",
        E.CANCELLING: "Somebody asks it to stop.",
        E.FAILED: "A phase fails, or is cancelled.",
    },
    E.COMPARING: {
        E.PASSED: "The rollback left no differences, and no operation failed.",
        E.CANCELLING: "Somebody asks it to stop.",
        E.FAILED: "The rollback left differences, or an operation failed.",
    },
    E.CANCELLING: {
        E.CANCELLED: "Its worker reaches a safe point.",
        E.PASSED: "It finished before a safe point.",
        E.FAILED: "It fails before a safe point.",
    },
    E.PASSED: {},
    E.FAILED: {},
    E.CANCELLED: {},
}
W = ScheduleState
_RESCHEDULED: Mapping[str, str] = {W.WAITING: "Somebody schedules another start."}
SCHEDULED_STARTS: Transitions = {
    W.WAITING: {
        W.STARTED: "Its time came, and the phase started.",
        W.NOT_STARTED: "Its time came, and the start was refused; or a clock jumped.",
        W.CANCELLED: "Somebody cancels it.",
    },
    W.STARTED: _RESCHEDULED,
    W.NOT_STARTED: _RESCHEDULED,
    W.CANCELLED: _RESCHEDULED,
}
D = DeliveryState
_RESENT: Mapping[str, str] = {D.WAITING: "Somebody sends it again."}
DELIVERIES: Transitions = {
    D.WAITING: {
        D.WAITING: "An attempt failed, or somebody retries it now.",
        D.DELIVERED: "Its receiver accepts it.",
        D.FAILED: "Its last attempt failed.",
    },
    D.DELIVERED: _RESENT,
    D.FAILED: _RESENT,
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

ENDED = (R.CANCELLED, R.FAILED, R.DONE)
HALTED = (R.PAUSED, R.FAILED, R.CANCELLED)
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
    if to in HALTED or to == R.RUNNING:
        change = _END_HALT if to == R.RUNNING else _BEGIN_HALT
        times["halts"] = RawSQL(change, [now.isoformat()], output_field=JSONField())  # noqa: S611
    return times
