"""What a step would do, each way, as people read it before they press the button."""

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.plan.actions import (
    Action,
    CompareSchema,
    Compute,
    Fill,
    Lock,
    LockMode,
    Pass,
    Probe,
    Proof,
    Statement,
    StepActions,
)
from rollout.plan.plan import Plan
from rollout.plan.step import Step

_OUTCOMES = {
    "kept": "Every row of {table} is compared with its own digest, and all with their fingerprint.",
    "restored": (
        "At the end every row of {table} is compared with its archived value, or with its lookup "
        "row where the row was written since."
    ),
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
    """Both ways of a step. ``backward`` is empty when nothing is to undo."""

    forward: list[Preview]
    backward: list[Preview]
    forward_locks: list[TableLock]
    backward_locks: list[TableLock]

    @property
    def forward_blocks(self) -> str:
        """What the strongest lock keeps the application from; empty where none does."""
        return _blocked(self.forward_locks)

    @property
    def backward_blocks(self) -> str:
        return _blocked(self.backward_locks)


def _blocked(locks: list[TableLock]) -> str:
    return next((lock.blocks for lock in locks if not lock.harmless), "")


def of_step(plan: Plan, step: Step) -> StepPreview:
    forward, backward = plan.forward(step), plan.backward(step)
    return StepPreview(
        [of_action(action) for action in forward.actions],
        [of_action(action) for action in backward.actions],
        table_locks([forward]),
        table_locks([backward]),
    )


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
                    "have the same fingerprint before and after it."
                )
    if any(isinstance(action, Statement) and action.done is not None for action in actions):
        proofs.append("After each statement the result is checked in the catalog.")
    if proofs and not any(isinstance(action, Pass) for action in actions):
        proofs.append("No row of the application's tables is written.")
    return proofs


def table_locks(directions: Iterable[StepActions]) -> list[TableLock]:
    """The locks of several directions, each once, the strongest first."""
    seen: dict[Lock, None] = {}
    for direction in directions:
        seen.update(dict.fromkeys(direction.locks))
    ordered = sorted(seen, key=lambda lock: (-_STRENGTH[lock.mode], lock.table))
    return [
        TableLock(
            lock.mode.value,
            lock.table,
            lock.mode.blocks,
            _STRENGTH[lock.mode] < _STRENGTH[LockMode.SHARE],
        )
        for lock in ordered
    ]
