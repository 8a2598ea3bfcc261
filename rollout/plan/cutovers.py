"""The cutover: reads and writes go to the new columns, which may take the names of legacy ones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from psycopg import sql

from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.carried_hazards import carried_hazards
from rollout.plan.carried_objects import drop_twins, twins, validate_references
from rollout.plan.catalog import Catalog
from rollout.plan.conversions import Conversion
from rollout.plan.hazards import Hazard, fed_around
from rollout.plan.kept_names import hand_back, hand_on, left
from rollout.plan.left_objects import left_objects
from rollout.plan.linked_tables import linked
from rollout.plan.plan import ENFORCE, Actions, Plan, Step
from rollout.plan.refusals import drop_refusal
from rollout.plan.removal_hazards import names_hazards
from rollout.plan.swaps import Carried
from rollout.plan.switch import switch_modes
from rollout.plan.table import Shape, Table
from rollout.plan.transition import triggers
from rollout.plan.value_decisions import drop_decided
from rollout.plan.value_proofs import texts_mean_their_rows


@dataclass(frozen=True, kw_only=True)
class CutOver(Step):
    """Reads and writes go to the new columns and the dual write turns round, in one transaction.

    The modes are those of all tables: where several are cut over, they switch with the last one.
    Until then the tables that have turned understand who writes both. A new column that keeps the
    name of its legacy column takes it in the same transaction.

    The way back does the same the other way, and then compares every row: from here on the legacy
    text leads, so it has to mean the lookup row that it stands beside.
    """

    table: Table
    """The table that is cut over."""
    phases = frozenset({ENFORCE})
    changes_write_path = True
    hands_names_on = True

    def forward(self, plan: Plan) -> Actions:
        turn = self._turned(plan)
        if self._is_last(plan):
            turn = switch_modes(plan.name, read="new", write="new", together_with=turn)
        moved = plan.carried_of(self.table)
        return (
            *(twins(self.table, moved) if moved else ()),
            turn,
            *(validate_references(self.table, moved) if moved else ()),
        )

    def backward(self, plan: Plan) -> Actions:
        turn = self._turned_back(plan)
        if self._is_last(plan):
            turn = switch_modes(plan.name, read="legacy", write="both", together_with=turn)
        moved = self._moved_back(plan)
        return (
            *(twins(self.table, moved) if moved else ()),
            turn,
            *(validate_references(self.table, moved) if moved else ()),
            # Those of a cutover that was not reached.
            *(drop_twins(self.table, plan.carried_of(self.table).values()) if moved else ()),
            *texts_mean_their_rows(plan, self.table),
        )

    def _turned(self, plan: Plan) -> Statement:
        names = plan.names_after_cutover(self.table)
        turn = partial(triggers(*self._after(plan)).install, "reverse")
        if not names:
            return turn()
        carried = self._carried(plan, plan.carried_of(self.table), widen=True)
        turned = hand_on(self.table, names, turn, clear=self._refusals(plan), carried=carried)
        return self._locking_others(plan, turned, plan.carried_of(self.table))

    def _turned_back(self, plan: Plan) -> Statement:
        names = plan.names_after_cutover(self.table)
        turn = partial(triggers(plan, self.table).install, "forward")
        if not names:
            return turn()
        clear = self._refusals(self._after(plan)[0])
        carried = self._carried(plan, self._moved_back(plan), widen=False)
        turned = hand_back(self.table, names, turn, clear=clear, carried=carried)
        return self._locking_others(plan, turned, self._moved_back(plan))

    def _moved_back(self, plan: Plan) -> dict[str, str]:
        names = plan.names_after_cutover(self.table)
        return {legacy: names[legacy] for legacy in plan.carried_of(self.table)}

    def _carried(self, plan: Plan, moved: Mapping[str, str], *, widen: bool) -> Carried | None:
        if not moved:
            return None
        views = any(t.recreates_views for t in plan.keeping_names_of(self.table))
        return Carried(plan.name, moved, widen, views)

    def _locking_others(self, plan: Plan, turned: Statement, moved: Mapping[str, str]) -> Statement:
        """A foreign key is dropped under a lock of both of its tables."""
        if not moved:
            return turned
        labels = [table.label for table in plan.tables if table.label != self.table.label]
        locks = (Lock(LockMode.ACCESS_EXCLUSIVE, label) for label in labels)
        link = linked(self.table, moved, LockMode.ACCESS_EXCLUSIVE)
        return replace(turned, locks=(*turned.locks, *locks), links=(link,))

    def _after(self, plan: Plan) -> tuple[Plan, Table]:
        """The plan and the table with the names of after the cutover."""
        names = plan.names_after_cutover(self.table)
        renamed = plan.renamed(frozenset([self.table.label] if names else []))
        return renamed, self.table.renamed(names)

    def _refusals(self, plan: Plan) -> list[sql.Composed]:
        """What takes away the functions of conversions whose columns get other names."""
        own = [t for t in plan.translations if isinstance(t, Conversion)]
        return [
            drop(t, plan.name)
            for t in own
            if t.table.label == self.table.label
            for drop in ((drop_refusal, drop_decided) if t.asks_people else (drop_refusal,))
        ]

    def reshape(self, plan: Plan, shape: Shape) -> None:
        names = plan.names_after_cutover(self.table)
        columns = shape.get(self.table.label, {})
        shape[self.table.label] = {names.get(c, c): column for c, column in columns.items()}

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        own = triggers(plan, self.table)
        names = (own.insert_trigger, own.update_trigger)
        return (
            fed_around(self.table, names),
            *(
                hazard
                for t in plan.keeping_names_of(self.table)
                if not t.carries
                for hazard in names_hazards(self.table, t.names_after_cutover, besides=names)
            ),
            *carried_hazards(plan, self.table, besides=names),
            *left_objects(plan, self.table),
        )

    def _is_last(self, plan: Plan) -> bool:
        steps = [step for phase in plan.phases for step in phase.steps]
        return [step for step in steps if isinstance(step, CutOver)][-1:] == [self]

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        names = plan.names_after_cutover(self.table)
        catalog.rename(self.table.label, left(names, plan.carried_of(self.table)))
        triggers(plan, self.table).put_into(catalog, "reverse")
