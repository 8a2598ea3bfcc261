"""A repair as passes of the backfill, each confined to what is selected and known to be wrong."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from psycopg import sql

from rollout.engine.repair.cells import (
    ADVICE,
    REPAIRABLE,
    SELECTABLE,
    Cell,
    Write,
    all_of,
    any_of,
    computed_cell,
    derived_cell,
    is_empty,
    lookup_cell,
    not_kept_aside,
)
from rollout.engine.repair.selection import Selection
from rollout.plan.actions import Action, Compute, Fill, Statement
from rollout.plan.conversions import Conversion
from rollout.plan.plan import Actions, Plan, Step
from rollout.plan.resolvers import name_the_rows
from rollout.plan.session_settings import ANNOUNCE
from rollout.plan.table import Table
from rollout.plan.transition import fill
from rollout.plan.translations import Computed, Lookup
from rollout.plan.updates import Assignment, update

RepairDirection = Literal["forward", "reverse"]


@dataclass(frozen=True, kw_only=True)
class RepairRows(Step):
    """The one step of a repair: its passes are made from a selection, not from the plan."""

    passes: Actions

    def forward(self, plan: Plan) -> Actions:
        return self.passes

    def backward(self, plan: Plan) -> None:
        """What was wrong is not brought back; the audit log has what it was."""


def step_of(repairings: Sequence["RepairPlan"]) -> RepairRows:
    """The one step of a repair: its passes over one table after the other."""
    tables = ", ".join(repairing.table.label for repairing in repairings)
    return RepairRows(
        id="repair",
        description=f"Repair rows of {tables}",
        passes=tuple(action for repairing in repairings for action in repairing.passes),
    )


class RepairPlan:
    """A selection of a table's rows, and what puts them right. Raises NothingSelected.

    ``jobs`` are those whose quarantine has the rows that a function has no answer for. With
    ``careful`` expressions may refuse rows; each row costs more.
    """

    def __init__(
        self,
        plan: Plan,
        table: Table,
        selection: Selection,
        *,
        direction: RepairDirection,
        jobs: Sequence[int] = (),
        careful: bool = False,
    ) -> None:
        selection.check(plan, table)
        self.is_careful = careful
        self.plan, self.table, self.selection = plan, table, selection
        self.direction = direction
        self.jobs = jobs
        self.has_key = selection.has_key(table)
        self.whole = fill(plan, table)

    @cached_property
    def careful(self) -> "RepairPlan":
        """The same repair, of rows that an expression may refuse."""
        return RepairPlan(
            *(self.plan, self.table, self.selection),
            direction=self.direction,
            jobs=self.jobs,
            careful=True,
        )

    @property
    def categories(self) -> tuple[str, ...]:
        return self.selection.categories or SELECTABLE

    @cached_property
    def cells(self) -> list[Cell]:
        """The selected columns that SQL repairs."""
        selected = [t for t in self.plan.translations_of(self.table) if self.selection.includes(t)]
        wanted = [category for category in self.categories if category in REPAIRABLE]
        reverse = self.direction == "reverse"
        lookups = [
            lookup_cell(self.plan, lookup, wanted, self.selection.has_text(lookup), reverse=reverse)
            for lookup in selected
            if isinstance(lookup, Lookup)
        ]
        texts = {w.column: w for cell in lookups for w in cell.writes if w.from_lookup}
        return lookups + [
            derived_cell(
                self.plan,
                derived,
                wanted,
                self.selection.has_text(derived),
                # Where its text is written too, it follows the new text.
                unless=[texts[column].condition for column in derived.reads if column in texts],
                careful=self.is_careful,
            )
            for derived in selected
            if isinstance(derived, Conversion)
        ]

    @cached_property
    def computed(self) -> list[Computed]:
        """The selected translations that a function repairs."""
        if self.selection.legacy is not None:
            # A function's value has no one text that it comes from.
            return []
        return [t for t in self.plan.computed_of(self.table) if self.selection.includes(t)]

    @property
    def recomputes(self) -> bool:
        """Whether existing values are recomputed. SQL cannot tell wrong ones: keys select them."""
        return "computed_differs" in self.selection.categories and self.selection.keys is not None

    def computed_cells(self, *, before: bool = True) -> list[Cell]:
        """The cells of computed columns. Recomputed ones count as right."""
        return [
            computed_cell(computed, self.jobs, recomputed=self.recomputes and before)
            for computed in self.computed
        ]

    @cached_property
    def writes(self) -> list[Write]:
        """What SQL writes."""
        return [write for cell in self.cells for write in cell.writes]

    @cached_property
    def has_a_write(self) -> sql.Composable:
        """SQL condition: the pass that repairs by SQL has something to write into row ``t``."""
        if not self.writes:
            return sql.SQL("false")
        return all_of([*self._is_selected, any_of([write.condition for write in self.writes])])

    @cached_property
    def _is_selected(self) -> list[sql.Composable]:
        """SQL conditions: row ``t`` is one of those that the pass is about."""
        # An unmapped text has no lookup row to become.
        mapped = [
            sql.SQL("{} IS NOT NULL").format(sql.Identifier(lookup.mapping_alias, "legacy"))
            for lookup in self.plan.lookups_of(self.table)
        ]
        return [self.has_key, *mapped]

    @property
    def _named(self) -> sql.Composable | None:
        """SQL condition: row ``t`` is named by its key; None: all are read."""
        return None if self.selection.keys is None else self.has_key

    @property
    def _repair(self) -> Fill:
        by_column: dict[str, list[tuple[sql.Composable, sql.Composable]]] = {}
        for write in self.writes:
            by_column.setdefault(write.column, []).append((write.condition, write.value))
        for column, condition, value in self._followers:
            by_column.setdefault(column, []).append((condition, value))
        return Fill(
            kind="repair",
            table=self.table,
            joins=self.whole.joins,
            matches=self.whole.matches,
            only=self.has_a_write,
            named=self._named,
            assignments=tuple(
                Assignment(column, self._value(column, cases))
                for column, cases in by_column.items()
            ),
            careful=None if self.is_careful else self.careful._repair,
        )

    @property
    def _followers(self) -> Iterator[tuple[str, sql.Composable, sql.Composable]]:
        """Columns that follow a text which is written: column, condition and value of each.

        No trigger translates what the engine writes, so it brings them along.
        """
        texts = {write.column: write for write in self.writes if write.from_lookup}
        for t in (*self.plan.translations_of(self.table), *self.plan.computed_of(self.table)):
            if isinstance(t, Lookup) or not (read := [texts[c] for c in t.reads if c in texts]):
                continue
            condition = any_of([write.condition for write in read])
            if isinstance(t, Computed):
                # As after any write without values for them: a function computes them again.
                yield from ((column, condition, sql.SQL("NULL")) for column in t.columns)
                continue
            instead = {
                write.column: sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
                    write.condition, write.value, sql.Identifier("t", write.column)
                )
                for write in read
            }
            for column, value in t.values("t", instead=instead).items():
                yield column, condition, value

    def _value(
        self, column: str, cases: Sequence[tuple[sql.Composable, sql.Composable]]
    ) -> sql.Composable:
        if not self.is_careful and len(self.writes) == 1 and len(cases) == 1:
            # The pass is confined to the rows of its condition.
            return cases[0][1]
        if self.is_careful:
            # An expression may refuse other rows, too, and they are none of the pass' business.
            cases = [(all_of([*self._is_selected, condition]), value) for condition, value in cases]
        return sql.SQL("CASE {} ELSE {} END").format(
            sql.SQL(" ").join(sql.SQL("WHEN {} THEN {}").format(*case) for case in cases),
            sql.Identifier("t", column),
        )

    @cached_property
    def passes(self) -> Actions:
        """The passes of a repair in order; empty where no right value can be known."""
        actions: list[Action] = [
            name_the_rows(cell.translation, self.plan.name)
            for cell in self.cells
            if isinstance(cell.translation, Lookup)
            and any(write.from_lookup for write in cell.writes)
        ]
        if self.writes:
            actions.append(self._repair)
        for computed in self.computed:
            actions += self._passes_of(computed)
        return tuple(actions)

    def _passes_of(self, computed: Computed) -> list[Fill | Compute]:
        passes: list[Fill | Compute] = []
        if self.recomputes:
            passes.append(
                Fill(
                    kind="clear",
                    table=self.table,
                    assignments=tuple(Assignment(c, sql.SQL("NULL")) for c in computed.columns),
                    only=all_of([self.has_key, sql.SQL("NOT {}").format(is_empty(computed))]),
                    named=self._named,
                )
            )
        if self.recomputes or "missing" in self.categories:
            passes.append(
                Compute(
                    table=self.table,
                    columns=tuple(computed.columns),
                    reads=computed.reads,
                    function=computed.function,
                    only=all_of([self.has_key, not_kept_aside(computed, self.jobs)]),
                    named=self._named,
                )
            )
        return passes

    @property
    def text(self) -> str:
        """The SQL of the repair, for people; where values may not convert, as it writes those."""
        if not self.is_careful and any(
            cell.translation.asks_people or cell.translation.leaves_empty
            for cell in self.cells
            if isinstance(cell.translation, Conversion)
        ):
            return self.careful.text
        return ";\n\n".join(
            _laid_out(action) if isinstance(action, Fill) else action.text
            for action in self.passes
            if isinstance(action, Statement | Fill | Compute)
        )

    @property
    def refusal(self) -> str:
        """Why rows of such categories cannot be repaired, whichever they are; empty if they can."""
        if self.passes:
            return ""
        if self.selection.categories == ("computed_differs",) and self.computed:
            return (
                "Computed values can only be repaired by key. Select rows from the report of a "
                "sampled audit."
            )
        return self.advice(self.categories) or (
            "None of the selected columns can be repaired. Select another column or category."
        )

    @staticmethod
    def advice(categories: Collection[str]) -> str:
        """What to do about rows that a repair leaves as they are."""
        return " ".join(ADVICE[category] for category in ADVICE if category in categories)


def _laid_out(fill: Fill) -> str:
    """The text of a pass for people who check it before it runs: a line for each column."""
    conditions = (sql.SQL("/* rows of the batch */ true"), *fill.matches, fill.wrong)
    own = update(fill.table.identifier, fill.assignments, fill.joins, conditions, laid_out=True)
    return sql.SQL("{};\n{}").format(ANNOUNCE, own).as_string()
