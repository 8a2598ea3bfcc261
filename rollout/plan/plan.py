"""A plan: five phases of steps, and the translations that everything else follows from.

A step reads the plan that it is part of, so both are declared here.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import ClassVar

from rollout.plan import kept_names
from rollout.plan.actions import Action, Probe, StepActions
from rollout.plan.catalog import Catalog
from rollout.plan.checklist import Item
from rollout.plan.conversions import Conversion, Convert
from rollout.plan.gates import (
    EarlierPhaseDone,
    FilesUnchanged,
    Gate,
    NoGuardrailHolds,
    ValuesDecided,
)
from rollout.plan.guardrails import ALWAYS, STANDARD, Guardrail
from rollout.plan.hazards import Hazard
from rollout.plan.table import Shape, Table
from rollout.plan.translations import ColumnTranslation, Computed, Lookup, Translation

PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT = range(5)
ROLES = ("prepare", "expand", "backfill", "enforce", "contract")
Actions = tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One thing that a phase does, and how it is undone.

    ``forward`` and ``backward`` give the actions of each direction; every action can be run again.
    ``backward`` answers ``None`` when there is no way back, and ``()`` when nothing is to undo.
    """

    id: str
    """Unique in its phase. The journal knows the step by it, so it never changes."""
    description: str
    """What people read, in the imperative."""
    phases: ClassVar[frozenset[int]] = frozenset(range(5))
    """The phases in which the step is safe."""
    destructive: ClassVar[bool] = False
    """Whether something goes that was there: columns, rows, indexes."""
    restrictive: ClassVar[bool] = False
    """Whether writes are refused from now on that were allowed before."""
    changes_write_path: ClassVar[bool] = False
    """Whether an audit made before the step says nothing about what is written after it."""

    hands_names_on: ClassVar[bool] = False
    """Whether new columns of its ``table`` take over the names of legacy ones with it."""
    is_of_before: ClassVar[bool] = False
    """Whether its ``columns`` are named as they are before the plan, whatever its phase."""

    @property
    def level(self) -> str:
        """``destructive``, ``restrictive`` or empty: the worse of what it is."""
        return "destructive" if self.destructive else "restrictive" if self.restrictive else ""

    @abstractmethod
    def forward(self, plan: "Plan") -> Actions: ...

    @abstractmethod
    def backward(self, plan: "Plan") -> Actions | None: ...

    def reshape(self, plan: "Plan", shape: Shape) -> None:
        """Change the expected columns as the step changes the table."""

    def assume(self, plan: "Plan", catalog: Catalog) -> None:
        """Put into the expected catalog what the step relies on being there before the plan."""

    def recatalog(self, plan: "Plan", catalog: Catalog) -> None:
        """Change the expected catalog, columns aside, as the step changes the database."""

    def defaults_by_data(self, plan: "Plan") -> dict[tuple[str, str], str]:
        """Defaults that the step sets, in the plan's words, by table label and column.

        The expected catalog cannot have them: how they read is known once the step has run.
        """
        return {}

    def hazards(self, plan: "Plan") -> tuple[Hazard, ...]:
        """Questions to the data whose answers would make the step fail, or cost something."""
        return ()

    @property
    def translations(self) -> tuple[Translation, ...]:
        """The translations that the step names; a plan check looks for each in the plan."""
        return ()

    @property
    def expressions(self) -> Mapping[str, str]:
        """By parameter, SQL over the row with columns in braces."""
        return {}

    @property
    def checksum(self) -> str:
        """Checksum of the files that the step is read from; empty without files."""
        return ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of ``table`` that must exist when the step runs."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase: its steps in order, its own gates, and how long the plan thinks it takes."""

    steps: tuple[Step, ...]
    """Its steps, in order."""
    gates: tuple[Gate, ...] = ()
    """Its gates, besides the automatic ones."""
    description: str = ""
    """What people read about it."""
    estimate: timedelta = timedelta(minutes=1)
    """How long it takes, in the plan's opinion; measurements replace it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to change. ``phases`` are prepare, expand, backfill, enforce and contract."""

    name: str
    """Its name in addresses, in the shell and in the journal: it never changes."""
    title: str
    """Its title on pages."""
    description: str
    """What people read about it."""
    tables: tuple[Table, ...]
    """The tables that it changes."""
    translations: tuple[Translation, ...]
    """How new columns follow from legacy ones."""
    phases: tuple[Phase, Phase, Phase, Phase, Phase]
    """The five phases."""
    keep_snapshots: timedelta = timedelta(days=30)
    """How long a snapshot is kept."""
    sample_every: timedelta | None = None
    """How often random rows are audited once phase 2 is done and until phase 4 begins."""
    sample_rows: int = 1000
    """How many rows such an audit compares."""
    checklist: tuple[Item, ...] = ()
    """What must be done in phase 0; the gate ``ChecklistComplete`` requires it."""
    traffic: str = ""
    """The traffic of rehearsals: the dotted path of ``traffic(*, using: str, seed: int)``.

    It returns a function that runs one operation of the application in the database
    ``using`` and raises if that fails. It must change nothing but that database.
    """
    traffic_rate: float = 20
    """Operations per second of a rehearsal."""
    guardrails: tuple[Guardrail, ...] = STANDARD
    """The plan's guardrails. Those of ``ALWAYS`` apply in addition."""

    def translations_of(self, table: Table) -> tuple[ColumnTranslation, ...]:
        """The translations of a table that SQL computes."""
        return tuple(
            t for t in self.translations if t.table == table and isinstance(t, Lookup | Conversion)
        )

    def computed_of(self, table: Table) -> tuple[Computed, ...]:
        return tuple(t for t in self.translations if t.table == table and isinstance(t, Computed))

    def lookups_of(self, table: Table) -> tuple[Lookup, ...]:
        return tuple(t for t in self.translations_of(table) if isinstance(t, Lookup))

    def conversions_of(self, table: Table) -> tuple[Conversion, ...]:
        return tuple(t for t in self.translations_of(table) if isinstance(t, Conversion))

    def legacy_of(self, table: Table) -> tuple[str, ...]:
        """The columns of a table that phase 4 drops."""
        return tuple(column for t in self.translations_of(table) for column in t.drops)

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        return tuple(t for t in self.translations if isinstance(t, Lookup))

    def keeping_names_of(self, table: Table) -> tuple[Convert, ...]:
        """The conversions of a table whose new column takes the legacy one's name."""
        return tuple(
            t
            for t in self.translations
            if t.table == table and isinstance(t, Convert) and t.names_after_cutover
        )

    def carried_of(self, table: Table) -> dict[str, str]:
        """By column whose keys, indexes and constraints go along with its name, the new column."""
        carried = [t for t in self.keeping_names_of(table) if t.carries]
        return {t.legacy[0]: next(iter(t.columns)) for t in carried}

    def table_like(self, table: Table) -> Table:
        """The plan's table of the same label, with the names that its columns have in this plan."""
        return next((own for own in self.tables if own.label == table.label), table)

    def names_after_cutover(self, table: Table) -> dict[str, str]:
        """By column of a table, the name that it has from the cutover on, if another."""
        return {
            old: new
            for t in self.keeping_names_of(table)
            for old, new in t.names_after_cutover.items()
        }

    @cached_property
    def tables_keeping_names(self) -> tuple[Table, ...]:
        """The tables of which columns change their names with the cutover."""
        return tuple(table for table in self.tables if self.keeping_names_of(table))

    def renamed(self, labels: frozenset[str]) -> "Plan":
        """The plan with the names that columns of these tables have after their cutover."""
        if not labels:
            return self
        if labels not in self._renamed:
            self._renamed[labels] = self._with_names(labels)
        return self._renamed[labels]

    @cached_property
    def _renamed(self) -> "dict[frozenset[str], Plan]":
        return {}

    def _with_names(self, labels: frozenset[str]) -> "Plan":
        names = {t: self.names_after_cutover(t) for t in self.tables if t.label in labels}
        of = kept_names.successors(names, self.translations)
        left = {t: kept_names.left(names[t], self.carried_of(t)) for t in names}
        prepare, expand, backfill, enforce, contract = (
            replace(phase, steps=tuple(kept_names.over(s, of, left) for s in phase.steps))
            for phase in self.phases
        )
        return replace(
            self,
            tables=tuple(of.get(table, table) for table in self.tables),
            translations=tuple(of.get(t, t) for t in self.translations),
            phases=(prepare, expand, backfill, enforce, contract),
        )

    def as_met_by(self, step: Step) -> "tuple[Plan, Step]":
        """The plan and the step with the names that columns have when the step runs."""
        if not self.tables_keeping_names:
            return self, step
        kept = {table.label for table in self.tables_keeping_names}
        labels: set[str] = set()
        for number, phase in enumerate(self.phases):
            for place, other in enumerate(phase.steps):
                if other is step:
                    plan = self.renamed(frozenset(labels))
                    return plan, plan.phases[number].steps[place]
                if other.hands_names_on:
                    labels |= {table.label for table in kept_names.tables_of(other)} & kept
        return self, step

    @property
    def reviewed_conversions(self) -> tuple[Conversion, ...]:
        """Those that people decide about: values that do not convert, keys in conflict."""
        return tuple(t for t in self.translations if isinstance(t, Conversion) and t.is_reviewed)

    @property
    def backfilled_tables(self) -> tuple[Table, ...]:
        return tuple(t for t in self.tables if self.translations_of(t) or self.computed_of(t))

    @property
    def audited_tables(self) -> tuple[Table, ...]:
        """The tables whose rows an audit can check."""
        return self.backfilled_tables

    @property
    def all_guardrails(self) -> tuple[Guardrail, ...]:
        """Its own guardrails, and those of every plan."""
        return (*self.guardrails, *ALWAYS)

    @cached_property
    def flows(self) -> tuple[str, ...]:
        """The flows that its steps try out, each once."""
        flows_of_steps = {
            action.flow: None
            for phase in self.phases
            for step in phase.steps
            for action in self.forward(step).actions
            if isinstance(action, Probe)
        }
        return tuple(flows_of_steps)

    def gates_of(self, number: int, *, protected: bool = True) -> tuple[Gate, ...]:
        """The gates before a phase, in a protected environment or in another one."""
        own = self.phases[number].gates
        if not protected:
            own = tuple(gate for gate in own if not gate.of_protected)
        if number == 0:
            return own
        files = (FilesUnchanged(),) if self.has_files else ()
        if number == ENFORCE and self.reviewed_conversions:
            own = (ValuesDecided(), *own)
        return (EarlierPhaseDone(), NoGuardrailHolds(), *files, *own)

    @cached_property
    def has_files(self) -> bool:
        """Whether steps are read from files, which may be edited after they were applied."""
        return any(step.checksum for phase in self.phases for step in phase.steps)

    def checksum_of(self, number: int, step_id: str) -> str:
        """Checksum of a step's files; empty without files."""
        steps = (step for step in self.phases[number].steps if step.id == step_id)
        return next((step.checksum for step in steps), "")

    def step(self, number: int, step_id: str) -> Step:
        """Raises KeyError where the phase has no such step."""
        return {step.id: step for step in self.phases[number].steps}[step_id]

    def is_destructive(self, number: int) -> bool:
        """Whether a phase has a step that takes something away."""
        return any(step.destructive for step in self.phases[number].steps)

    def is_restrictive(self, number: int) -> bool:
        """Whether a phase has a step after which writes are refused that were allowed before."""
        return any(step.restrictive for step in self.phases[number].steps)

    def is_guarded(self, number: int) -> bool:
        """Whether people are asked twice: for the plan's name and their password before they start
        a phase, for a second lead before one of its gates is overridden."""
        return self.is_destructive(number) or self.is_restrictive(number)

    def forward(self, step: Step) -> StepActions:
        return self._both_directions(step)[0]

    def backward(self, step: Step) -> StepActions:
        return self._both_directions(step)[1]

    def _both_directions(self, step: Step) -> tuple[StepActions, StepActions]:
        """Both directions of a step, composed once: the plan that a process has does not change."""
        if id(step) not in self._composed:
            plan, met = self.as_met_by(step)
            forward = met.forward(plan)
            for table in () if met.hands_names_on else kept_names.tables_of(met):
                if names := plan.names_after_cutover(table):
                    forward = kept_names.unless_handed_on(table, names, forward)
            both = StepActions(forward), StepActions(met.backward(plan) or ())
            # The step is kept, so that no other one can come to have its id.
            self._composed[id(step)] = (step, *both)
        return self._composed[id(step)][1:]

    @cached_property
    def _composed(self) -> dict[int, tuple[Step, StepActions, StepActions]]:
        return {}

    def shape(self, phases_done: int) -> Shape:
        """The columns that the plan's tables have once that many phases are done; not to change.

        Composed once, as a page asks for all of them.
        """
        if phases_done not in self._shapes:
            shape: Shape = {table.label: dict(table.columns) for table in self.tables}
            for phase in self.phases[:phases_done]:
                for step in phase.steps:
                    plan, met = self.as_met_by(step)
                    met.reshape(plan, shape)
            self._shapes[phases_done] = shape
        return self._shapes[phases_done]

    @cached_property
    def _shapes(self) -> dict[int, Shape]:
        return {}

    @cached_property
    def catalogs(self) -> dict[tuple[int, int], Catalog]:
        """The expected catalogs that were requested, by phases and steps done."""
        return {}

    @cached_property
    def digest(self) -> str:
        """A short digest of every statement the plan would run, in both directions: its version."""
        statements = b"".join(map(self._statements, range(len(self.phases))))
        return hashlib.sha256(statements).hexdigest()[:12]

    def digest_of(self, number: int) -> str:
        """A short digest of what people approve: a phase's statements both ways, and its gates."""
        if number not in self._digests:
            content = hashlib.sha256(self._statements(number))
            content.update(repr(self.gates_of(number)).encode())
            self._digests[number] = content.hexdigest()[:12]
        return self._digests[number]

    @cached_property
    def _digests(self) -> dict[int, str]:
        return {}

    def _statements(self, number: int) -> bytes:
        lines = []
        for step in self.phases[number].steps:
            lines.append(f"{number} {step.id}\n")
            for action in (*self.forward(step).actions, *self.backward(step).actions):
                text = getattr(action, "text", None)
                lines.append(repr(action) if text is None else text)
        return "".join(lines).encode()
