"""What a step would do, each way, as people read it before they press the button."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar

from django.core.cache import cache

from rollout.engine.backfill import LOCK_TIMEOUT_MS
from rollout.engine.ddl import (
    FIRST_LOCK_TIMEOUT_SECONDS,
    MAX_ATTEMPTS,
    MAX_LOCK_TIMEOUT_SECONDS,
)
from rollout.gates.cached_queries import cached_query
from rollout.journal.labels import job_label
from rollout.models import Rollout
from rollout.plan.actions import (
    Action,
    Audit,
    CompareSchema,
    Compute,
    Fill,
    LockMode,
    Pass,
    Probe,
    Statement,
    StepActions,
)
from rollout.plan.copies import Copy
from rollout.plan.plan import Plan, Step
from rollout.plan.proofs import Proof
from rollout.plan.tasks import Task
from rollout.queries.rehearsals import Rehearsed, StepReport
from rollout.queries.status import RolloutStatus

# The server of an environment is upgraded less often than that.
SERVER_KEPT_SECONDS = 300
_OUTCOMES = {
    "kept": "Every row of {table} is compared with its own digest, and all with their fingerprint.",
    "restored": (
        "At the end every row of {table} is compared with its archived value, or with its new "
        "columns where the row was written since."
    ),
    "archived": "Every row of {table} is compared with its archived value.",
    "meant": "At the end every row of {table} is compared: new columns with legacy ones.",
}
_STRENGTH = {mode: strength for strength, mode in enumerate(LockMode)}


@dataclass(frozen=True)
class Preview:
    """How an action runs, as a sentence, and its SQL where it has some."""

    note: str
    sql: str = ""


@dataclass(frozen=True)
class TableLock:
    """A lock on a table and what it keeps others from."""

    mode: str
    table: str
    blocks: str
    harmless: bool


@dataclass(frozen=True)
class StepPreview:
    """Both directions of a step. ``backward`` is empty when nothing is to undo.

    ``forward_elsewhere`` and ``backward_elsewhere`` are for servers of another version.
    """

    kind: str
    """How it runs, in a word or two."""
    forward: list[Preview]
    backward: list[Preview]
    forward_locks: list[TableLock]
    backward_locks: list[TableLock]
    forward_elsewhere: list[Preview] = field(default_factory=list)
    backward_elsewhere: list[Preview] = field(default_factory=list)
    rehearsed: StepReport | None = None
    """How it went forward in the newest rehearsal."""

    undone: StepReport | None = None
    """How its rollback went there."""

    backward_kind: str = ""
    backward_effects: list[str] = field(default_factory=list)
    """What the way back does to columns of every row, in sentences."""

    longest_wait: ClassVar = timedelta(seconds=MAX_LOCK_TIMEOUT_SECONDS)
    """For a lock, in one attempt."""

    @property
    def has_sql(self) -> bool:
        return any(preview.sql for preview in self.forward + self.backward)

    def blocks(self, back: bool) -> str:
        """What the strongest lock of a step keeps the application from; empty where none does."""
        locks = self.backward_locks if back else self.forward_locks
        return next((lock.blocks for lock in locks if not lock.harmless), "")


def any_blocks(steps: Iterable[Sequence[Any]]) -> bool:
    """Whether any of several steps blocks something, in any direction.

    ``steps`` are rows of a page, the preview of each in the second place.
    """
    return any(row[1].blocks(back) for row in steps for back in (False, True))


def lock_waits() -> str:
    """How long the application may wait for a step, and why, in sentences."""
    return (
        f"A statement waits at most {FIRST_LOCK_TIMEOUT_SECONDS:g} s for its lock, in later "
        f"attempts up to {MAX_LOCK_TIMEOUT_SECONDS:g} s; queries queued behind it wait no longer. "
        f"After {MAX_ATTEMPTS} attempts the step fails and nothing has changed. Once granted, the "
        "lock is held until the statement ends, without a time limit: see how long it was held in "
        f"rehearsal. A backfill batch waits at most {LOCK_TIMEOUT_MS} ms for a row."
    )


def server_of(rollout: Rollout) -> int | None:
    """The version of the target's server, as libpq numbers it; None where it is away."""
    key = f"rollout-server-{rollout.environment}"
    known: int | None = cache.get(key)
    if known is None:
        version = cached_query(rollout, "server", query=lambda asked: asked.info.server_version)
        if isinstance(version, int):
            known = version
            cache.set(key, known, SERVER_KEPT_SECONDS)
    return known


def of_phase(
    status: RolloutStatus,
    number: int,
    rehearsed: Rehearsed | None = None,
    undone: Rehearsed | None = None,
) -> list[tuple[Step, StepPreview]]:
    """The steps of a phase; ``rehearsed`` is how the phase went forward in rehearsal, ``undone``
    how it was rolled back there."""
    server = server_of(status.rollout)
    forward, back = (
        {report.step: report for report in direction.result.steps} if direction else {}
        for direction in (rehearsed, undone)
    )
    return [
        (
            step,
            replace(
                of_step(status.plan, step, server),
                rehearsed=forward.get(step.id),
                undone=back.get(step.id),
            ),
        )
        for step in status.plan.phases[number].steps
    ]


def of_step(plan: Plan, step: Step, server: int | None = None) -> StepPreview:
    """The preview of a step; for all servers if the ``server`` is unknown."""
    forward, backward = plan.forward(step), plan.backward(step)
    return StepPreview(
        kind=_kind_of(run_by(server, forward)),
        backward_kind=_kind_of(run_by(server, backward)),
        backward_effects=[text for a in backward.actions if (text := _effect_of(a))],
        forward=[of_action(action) for action in run_by(server, forward).actions],
        backward=[of_action(action) for action in run_by(server, backward).actions],
        forward_elsewhere=_elsewhere(server, forward),
        backward_elsewhere=_elsewhere(server, backward),
        forward_locks=table_locks([run_by(server, forward)]),
        backward_locks=table_locks([run_by(server, backward)]),
    )


def run_by(server: int | None, step_actions: StepActions) -> StepActions:
    """The actions that a server runs; all if it is unknown."""
    return StepActions(tuple(a for a in step_actions.actions if _is_for(server, a)))


def _elsewhere(server: int | None, step_actions: StepActions) -> list[Preview]:
    return [of_action(action) for action in step_actions.actions if not _is_for(server, action)]


def _is_for(server: int | None, action: Action) -> bool:
    return server is None or not isinstance(action, Statement) or action.is_for(server)


def _kind_of(step_actions: StepActions) -> str:
    for action in step_actions.actions:
        match action:
            case Fill(kind="fill") | Compute(kind="compute"):
                return "Backfill"
            case Fill() | Copy() | Compute():
                return job_label(action.kind)
            case Probe():
                return "Smoke test"
            case Audit():
                return "Audit"
            case CompareSchema():
                return "Schema check"
            case Proof():
                return "Data check"
    count = len(step_actions.actions)
    return f"{count} statements" if count > 1 else "Statement"


def _effect_of(action: Action) -> str:
    match action:
        case Fill(kind="clear" | "restore"):
            columns = ", ".join(assignment.column for assignment in action.assignments)
            verb = "Empties" if action.kind == "clear" else "Restores"
            return f"{verb} {columns} of {action.table.label}."
    return ""


def of_action(action: Action) -> Preview:
    match action:
        case Statement(long=True):
            only = f"{action.said_servers} only. " if action.said_servers else ""
            return Preview(
                f"{only}Long-running, without a lock timeout. Does not block the application.",
                action.text,
            )
        case Statement():
            return Preview(
                f"{action.said_servers} only." if action.said_servers else "", action.text
            )
        case Fill():
            return Preview(
                "Runs in small batches; each batch replaces “true” with its range of rows.",
                action.text,
            )
        case Copy():
            return Preview(
                "Runs in small batches; each batch replaces “true” with its range of rows. Does "
                "not block the application.",
                action.text,
            )
        case Task():
            return Preview(
                "Runs in small batches: a Python function works on rows, in one transaction with "
                "the batch's checkpoint.",
                action.text,
            )
        case Compute():
            return Preview(
                "Runs in small batches: reads rows, computes values in Python, writes each row "
                "unless its inputs changed.",
                action.text,
            )
        case Proof():
            return Preview(
                "Compares every row in small batches. Read-only. The step fails and names the "
                "row if one differs.",
                action.text,
            )
        case Probe():
            return Preview(f"Runs {action.flow} in a transaction that is rolled back.")
        case CompareSchema():
            return Preview("Compares the live schema with the plan. Read-only.")
        case _:
            return Preview("Reads every row once, in one consistent read. Read-only.")


def what_proves(plan: Plan, phase: int) -> list[str]:
    """What shows, at the end of a phase's rollback, that nothing was lost: a sentence for each."""
    actions = [a for step in plan.phases[phase].steps for a in plan.backward(step).actions]
    proofs = []
    for action in actions:
        match action:
            case Proof():
                proofs.append(_OUTCOMES[action.outcome].format(table=action.table.label))
            case Fill(keeps=kept) if kept:
                proofs.append(
                    f"Each batch of {action.table.label} is rolled back unless {', '.join(kept)} "
                    f"{'have the same values' if kept[1:] else 'has the same value'} after it."
                )
    if any(isinstance(action, Statement) and action.done is not None for action in actions):
        proofs.append("After each statement the result is checked in the catalog.")
    if proofs and not any(isinstance(action, Pass) for action in actions):
        proofs.append("No row of the application's tables is written.")
    return proofs


def table_locks(steps: Iterable[StepActions]) -> list[TableLock]:
    """The locks of several steps, each once, the strongest first."""
    return strongest_first(
        TableLock(
            lock.mode.value,
            lock.table,
            lock.mode.blocks,
            _STRENGTH[lock.mode] < _STRENGTH[LockMode.SHARE],
        )
        for step_actions in steps
        for lock in step_actions.locks
    )


def strongest_first(locks: Iterable[TableLock]) -> list[TableLock]:
    """Each once."""
    return sorted(
        dict.fromkeys(locks), key=lambda lock: (-_STRENGTH[LockMode(lock.mode)], lock.table)
    )
