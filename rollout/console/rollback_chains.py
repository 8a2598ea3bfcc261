"""Rollbacks of one or several phases: what each does before it is confirmed, and how far it is."""

from collections.abc import Iterable
from dataclasses import dataclass

from rollout import gates
from rollout.console import previews
from rollout.console.previews import StepPreview, TableLock
from rollout.models import ChainState, Direction, RollbackChain, RunState
from rollout.plan.actions import Fill
from rollout.plan.cutovers import CutOver
from rollout.plan.plan import Plan, Step
from rollout.plan.schema_changes import SchemaChange, Sign, of_phase
from rollout.plan.transition import MapLegacyValues
from rollout.queries.rehearsals import PhaseResult, Rehearsed, forecast_of
from rollout.queries.status import PhaseStatus, RolloutStatus


@dataclass(frozen=True)
class ChainProgress:
    """A rollback of several phases: ``phase`` is the one it is at, ``left`` those after it."""

    chain: RollbackChain
    phase: int
    left: list[int]

    @property
    def is_running(self) -> bool:
        return self.chain.state == ChainState.RUNNING

    @property
    def last_phase(self) -> int:
        return self.chain.to_phase + 1

    @property
    def total(self) -> int:
        return self.chain.first_phase - self.chain.to_phase

    @property
    def position(self) -> int:
        """Which of the phases it is at, from 1."""
        return self.chain.first_phase - self.phase + 1


def progress_of(status: RolloutStatus) -> ChainProgress | None:
    """How far a rollback of several phases is; None where none is running or stopped short."""
    if status.chain is None:
        return None
    phase, *left = gates.started_after(status.evidence.runs, status.chain.to_phase)
    return ChainProgress(status.chain, phase, left)


@dataclass(frozen=True)
class PhaseRollback:
    """The rollback of a phase: ``steps`` are those that do something, newest first."""

    phase: PhaseStatus
    steps: list[tuple[int, Step, StepPreview]]
    keeps_decisions: bool
    """Whether it drops the mapping that people decided on, which outlives it."""
    locks: list[TableLock]
    proofs: list[str]
    schema_changes: SchemaChange | None
    """None of a phase that stopped in its middle: only the steps that are done are undone."""
    clears: list[str]
    """Columns."""
    renames: dict[str, str]
    """Columns that take the names of before the cutover again, which loses and restores nothing."""
    rehearsed: Rehearsed | None

    @property
    def drops(self) -> list[str]:
        """Tables and columns."""
        dropped = _named(self.schema_changes, "dropped") if self.schema_changes else []
        return [name for name in dropped if name not in self.renames]

    @property
    def loses(self) -> list[str]:
        """Tables and columns that it empties or drops, without views."""
        changes = self.schema_changes
        dropped = _named(changes, "dropped", views=False) if changes else []
        return self.clears + [name for name in dropped if name not in self.renames]

    @property
    def restores(self) -> list[str]:
        """Tables and columns."""
        added = _named(self.schema_changes, "added") if self.schema_changes else []
        return [name for name in added if name not in self.renames.values()]

    @property
    def legacy_again(self) -> list[str]:
        """The names by which readers get legacy values again, where the cutover had given them to
        new columns."""
        return [name for name in self.renames if name in self.renames.values()]

    @property
    def blocks(self) -> bool:
        """Whether any lock keeps the application from something."""
        return any(not lock.harmless for lock in self.locks)

    @property
    def result(self) -> PhaseResult | None:
        return self.rehearsed.result if self.rehearsed else None


def rollbacks_of(status: RolloutStatus, last: int) -> list[PhaseRollback]:
    """The rollbacks down to a phase, newest first; of that phase alone if none has begun."""
    rollbacks = []
    for number in gates.started_after(status.evidence.runs, last - 1) or [last]:
        plan = status.plan
        described = [(n, *entry) for n, entry in enumerate(previews.of_phase(status, number), 1)]
        is_done = status.phases[number].state == RunState.DONE
        rollbacks.append(
            PhaseRollback(
                phase=status.phases[number],
                steps=[entry for entry in reversed(described) if entry[2].backward],
                keeps_decisions=any(
                    isinstance(s, MapLegacyValues) for s in plan.phases[number].steps
                ),
                locks=previews.strongest_first(
                    lock for *_, preview in described for lock in preview.backward_locks
                ),
                proofs=previews.what_proves(plan, number),
                schema_changes=of_phase(plan, number, back=True) if is_done else None,
                clears=_cleared(plan, number),
                renames=_renamed(plan, number),
                rehearsed=forecast_of(status.rehearsal, number, Direction.BACKWARD),
            )
        )
    return rollbacks


def lost_by(rollbacks: Iterable[PhaseRollback]) -> list[str]:
    """The columns and tables that rollbacks, newest first, empty or drop, by their names then."""
    return _by_names_then([(rollback.loses, rollback.renames) for rollback in rollbacks])


def restored_by(rollbacks: Iterable[PhaseRollback]) -> list[str]:
    """The columns and tables that rollbacks, newest first, bring back, by their names then."""
    return _by_names_then([(rollback.restores, rollback.renames) for rollback in rollbacks])


def _by_names_then(rollbacks: Iterable[tuple[list[str], dict[str, str]]]) -> list[str]:
    names: list[str] = []
    for own, renames in rollbacks:
        names = [renames.get(name, name) for name in [*names, *own]]
    return names


def destroys(status: RolloutStatus, last: int) -> bool:
    """Whether the rollbacks down to a phase drop or empty tables or columns that hold data."""
    return any(
        loses(status.plan, number) for number in gates.started_after(status.evidence.runs, last - 1)
    )


def loses(plan: Plan, phase: int) -> bool:
    """Whether the rollback of a phase drops or empties tables or columns that hold data."""
    dropped = _named(of_phase(plan, phase, back=True), "dropped", views=False)
    return bool(_cleared(plan, phase) or set(dropped) - _renamed(plan, phase).keys())


def _renamed(plan: Plan, phase: int) -> dict[str, str]:
    """By the name that a column has since a phase's cutover the one that its rollback gives it."""
    return {
        f"{step.table.label}.{later}": f"{step.table.label}.{earlier}"
        for step in plan.phases[phase].steps
        if isinstance(step, CutOver)
        for earlier, later in plan.names_after_cutover(step.table).items()
    }


def _named(changes: SchemaChange, sign: Sign, *, views: bool = True) -> list[str]:
    """The tables and columns that a change adds or drops."""
    tables = [table for table in changes.tables if views or not table.is_view]
    return [table.table for table in tables if table.sign == sign] + [
        f"{table.table}.{part.name}"
        for table in tables
        for part in table.parts
        if table.sign == "changed" and part.kind == "column" and part.sign == sign
    ]


def _cleared(plan: Plan, phase: int) -> list[str]:
    actions = [a for step in plan.phases[phase].steps for a in plan.backward(step).actions]
    return [
        f"{action.table.label}.{assignment.column}"
        for action in actions
        if isinstance(action, Fill) and action.kind == "clear"
        for assignment in action.assignments
    ]
