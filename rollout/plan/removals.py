"""The steps that take the legacy columns away: freeze, archive, drop; and use what came instead."""

from dataclasses import dataclass, replace

from psycopg import sql

from rollout.plan import attributes, facts
from rollout.plan.actions import Fill, Lock, LockMode, Statement
from rollout.plan.archived_values import KeptValues, kept_of
from rollout.plan.archives import (
    archive_is_whole,
    archive_name,
    joins_of_texts,
    texts_are_back,
)
from rollout.plan.carried_objects import drop_twins_at_once
from rollout.plan.catalog import Catalog, Part
from rollout.plan.constraints import AddUnique
from rollout.plan.conversions import Convert
from rollout.plan.cutovers import CutOver
from rollout.plan.dual_write_functions import is_compared_as_text
from rollout.plan.hazards import Hazard, fed_around
from rollout.plan.indexes import CreateIndex, DropIndex
from rollout.plan.linked_tables import linked, linked_again
from rollout.plan.names import code, identifier, in_target
from rollout.plan.narrow_columns import fits_again
from rollout.plan.plan import CONTRACT, Actions, Plan, Step
from rollout.plan.removal_hazards import (
    depends_on,
    goes_with,
    mentions,
    no_longer_unique,
    replica_identity,
    unclear_default,
)
from rollout.plan.resolvers import name_the_rows, resolver_name
from rollout.plan.schema import require_values
from rollout.plan.sql_files import SqlFile
from rollout.plan.switch import stop_using_feature, use_feature
from rollout.plan.table import Column, Shape, Table
from rollout.plan.transition import legacy_again, triggers
from rollout.plan.translations import Lookup
from rollout.plan.updates import Assignment


@dataclass(frozen=True, kw_only=True)
class FreezeLegacy(Step):
    """A write that changes only a legacy column is refused from now on: its text is archived."""

    table: Table
    """The table whose legacy columns are frozen."""
    phases = frozenset({CONTRACT})
    restrictive = True
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        handed_on = [
            (column, of, self.table.columns.get(t.drops[0], of))
            for t in plan.conversions_of(self.table)
            for column, of in t.added.items()
            if t.declared(column) != column
        ]
        archive = facts.relation_exists(in_target(archive_name(plan, self.table)))
        gone = facts.all_of(
            *(
                facts.no(facts.column_exists(self.table, column))
                for column in plan.legacy_of(self.table)
            ),
            # Before a cutover that hands names on, the names of after it are missing as well.
            *(facts.column_has_type(self.table, column, of.type) for column, of, _ in handed_on),
            # The type tells nothing where both have one.
            *([archive] if any(of.type == old.type for _, of, old in handed_on) else []),
        )
        return (unless(gone, triggers(plan, self.table).install("frozen")),)

    def backward(self, plan: Plan) -> Actions:
        return (triggers(plan, self.table).install("reverse"),)

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        triggers(plan, self.table).put_into(catalog, "frozen")

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        own = triggers(plan, self.table)
        return (fed_around(self.table, (own.insert_trigger, own.update_trigger)),)


@dataclass(frozen=True, kw_only=True)
class StopDualWrite(Step):
    """The triggers of a table that loses no column go."""

    table: Table
    """The table that loses the triggers."""
    phases = frozenset({CONTRACT})
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        return (triggers(plan, self.table).remove(),)

    def backward(self, plan: Plan) -> Actions:
        turned = any(
            isinstance(step, CutOver) and step.table == self.table
            for phase in plan.phases
            for step in phase.steps
        )
        install = triggers(plan, self.table).install("reverse" if turned else "forward")
        return (install, *legacy_again(plan, self.table))

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        triggers(plan, self.table).take_from(catalog)


def unless(fact: sql.Composable, statement: Statement) -> Statement:
    """A statement that a later step makes needless: with the fact it counts as done."""
    assert statement.done is not None
    return replace(statement, done=sql.SQL("({} OR {})").format(fact, statement.done))


def together(first: Statement, second: Statement) -> Statement:
    """Two short statements in one transaction: no writer meets the table between them."""
    assert first.done is not None
    assert second.done is not None
    return Statement(
        sql=sql.SQL("{};\n{}").format(first.sql, second.sql),
        done=facts.all_of(first.done, second.done),
        locks=tuple(dict.fromkeys((*first.locks, *second.locks))),
        links=(*first.links, *second.links),
    )


@dataclass(frozen=True, kw_only=True)
class DropLegacy(Step):
    """The legacy columns go, and with them the triggers.

    The mapping stays, and the resolver that reads it: people continue to type what they typed, and
    what was decided about it still stands.

    The way back looks whether the archive is whole, adds the columns again, turns the dual write
    on, and restores every row's legacy values: the archived ones where the row still means the
    same, else what its new values are written as. Then it compares every row with what it should
    have. A column that was NOT NULL becomes so again, without a scan under an exclusive lock.
    """

    table: Table
    """The table that loses its legacy columns."""
    phases = frozenset({CONTRACT})
    destructive = True
    changes_write_path = True

    def _columns(self, plan: Plan) -> dict[str, Column]:
        legacy = plan.legacy_of(self.table)
        # One that the table lacks is for the plan's check to name, not to stumble over here.
        return {name: self.table.columns[name] for name in legacy if name in self.table.columns}

    def forward(self, plan: Plan) -> Actions:
        columns, own = self._columns(plan), plan.conversions_of(self.table)
        not_nulls = [identifier(self.table.name, column, "not_null") for column in columns]
        lookups = [lookup for lookup in plan.lookups_of(self.table) if lookup.legacy in columns]
        may_have_twins = any(isinstance(t, Convert) for t in own)
        drop = Statement(
            sql=sql.SQL(";\n").join(
                [
                    # What a rollback of the cutover that did not end has built over the columns.
                    *([drop_twins_at_once(self.table)] if may_have_twins else []),
                    attributes.keep(plan.name, self.table, tuple(columns), not_nulls),
                    *(
                        attributes.default_of(
                            *(plan.name, self.table, lookup.legacy, lookup.column),
                            in_target(resolver_name(lookup, plan.name)),
                        )
                        for lookup in lookups
                    ),
                    *(
                        attributes.default_by(plan.name, self.table, conversion)
                        for conversion in own
                        if conversion.drops and set(conversion.reads) <= columns.keys()
                    ),
                    sql.SQL("ALTER TABLE {} {}").format(
                        self.table.identifier,
                        sql.SQL(", ").join(
                            sql.SQL("DROP COLUMN IF EXISTS {}").format(sql.Identifier(c))
                            for c in columns
                        ),
                    ),
                ]
            ),
            done=facts.all_of(
                *(facts.no(facts.column_exists(self.table, column)) for column in columns)
            ),
            locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
            links=(linked(self.table, columns, LockMode.ACCESS_EXCLUSIVE),),
        )
        # Without its triggers a column that is NOT NULL would refuse who knows the new ones alone,
        # for as long as its drop waits for the lock.
        return (together(triggers(plan, self.table).remove(), drop),)

    def backward(self, plan: Plan) -> Actions:
        columns = self._columns(plan)
        joins, matches = joins_of_texts(plan, self.table)
        add = Statement(
            sql=sql.SQL("{};\nALTER TABLE {} {}").format(
                attributes.put_back_columns(plan.name, self.table),
                self.table.identifier,
                sql.SQL(", ").join(
                    sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(
                        sql.Identifier(name), code(column.type)
                    )
                    for name, column in columns.items()
                ),
            ),
            done=facts.all_of(*(facts.column_exists(self.table, c) for c in columns)),
            locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),),
        )
        return (
            *fits_again(plan),
            archive_is_whole(plan, self.table),
            # A text that was written before the triggers are there would be restored away.
            together(add, self._triggers_before(plan)),
            # Every one of them may be the text of a row by now, whatever it means.
            *(
                name_the_rows(lookup, plan.name, every=True)
                for lookup in plan.lookups_of(self.table)
            ),
            Fill(
                kind="restore",
                table=self.table,
                assignments=tuple(
                    Assignment(
                        column,
                        kept.again(column),
                        as_text=isinstance(kept, KeptValues)
                        and is_compared_as_text(columns[column].type),
                    )
                    for kept in kept_of(plan, self.table)
                    for column in kept.legacy
                    if column in columns
                ),
                joins=joins,
                matches=matches,
                source=in_target(archive_name(plan, self.table)),
                keeps=tuple(
                    column
                    for t in (*plan.translations_of(self.table), *plan.computed_of(self.table))
                    for column in t.added
                ),
            ),
            *require_values(
                self.table, tuple(name for name, column in columns.items() if not column.null)
            ),
            *self._rest(plan),
            texts_are_back(plan, self.table),
            *legacy_again(plan, self.table, dropped=True),
        )

    def _rest(self, plan: Plan) -> Actions:
        """What the columns had besides; a foreign key is made and validated with locks of both."""
        short, long, last = attributes.put_back_the_rest(plan.name, self.table)
        made, validated = (
            (linked_again(plan.name, self.table, mode),)
            for mode in (LockMode.SHARE_ROW_EXCLUSIVE, LockMode.ROW_SHARE)
        )
        return (replace(short, links=made), replace(long, links=validated), last)

    def _triggers_before(self, plan: Plan) -> Statement:
        """The triggers in the stage that they had before they were removed.

        Frozen text stays frozen until it is restored: it says no more than its row, so that a
        writer in the meantime leaves nothing that could be taken for the archive's text.
        """
        reverse = triggers(plan, self.table).install("reverse")
        assert reverse.done is not None
        steps = (step for phase in plan.phases for step in phase.steps)
        if any(isinstance(step, FreezeLegacy) and step.table == self.table for step in steps):
            # What is undone after this turns them round for good.
            return unless(reverse.done, triggers(plan, self.table).install("frozen"))
        return reverse

    def reshape(self, plan: Plan, shape: Shape) -> None:
        for column in self._columns(plan):
            shape.get(self.table.label, {}).pop(column, None)

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        triggers(plan, self.table).take_from(catalog)
        for column in self._columns(plan):
            catalog.know(self.table.label, Part("constraint", facts.check_name(self.table, column)))

    def defaults_by_data(self, plan: Plan) -> dict[tuple[str, str], str]:
        columns = self._columns(plan)
        return {
            (self.table.label, lookup.column): f"lookup row for an omitted {lookup.legacy}"
            # Without a default of the legacy column's own there is nothing to go by.
            + ("" if columns[lookup.legacy].null and lookup.blank else ", if it had a default")
            for lookup in plan.lookups_of(self.table)
            if lookup.legacy in columns
        } | {
            (self.table.label, column): f"what omitted values of {', '.join(t.drops)} mean"
            for t in plan.conversions_of(self.table)
            for column in t.added
            if t.drops
        }

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        # What is bound to a carried column goes along with its name before.
        carried = plan.carried_of(self.table)
        columns = tuple(c for c in self._columns(plan) if c not in carried)
        if not columns:
            return ()
        own = triggers(plan, self.table)
        dropped_before = tuple(
            step.name
            for phase in plan.phases
            for step in phase.steps
            if isinstance(step, DropIndex) and step.table == self.table
        )
        return (
            depends_on(self.table, columns, besides=(own.insert_trigger, own.update_trigger)),
            goes_with(self.table, columns, besides=dropped_before, way_back=_by_hand_back(plan)),
            mentions(self.table, columns),
            replica_identity(self.table, columns),
            *(
                unclear_default(self.table, column, is_text=isinstance(t, Lookup))
                for t in plan.translations_of(self.table)
                for column in t.drops
                if column in columns
            ),
            no_longer_unique(self.table, columns, self._unique_successors(plan)),
        )

    def _unique_successors(self, plan: Plan) -> list[tuple[str, ...]]:
        """The columns of the unique indexes that the plan builds, as the legacy columns that they
        replace.
        """
        legacy = replaced_columns(plan, self.table)
        return [
            tuple(legacy.get(column, column) for column in step.columns)
            for phase in plan.phases[:CONTRACT]
            for step in phase.steps
            if isinstance(step, CreateIndex | AddUnique)
            and step.unique
            and step.table == self.table
        ]


def replaced_columns(plan: Plan, table: Table) -> dict[str, str]:
    """By new column, the legacy column that it alone replaces."""
    return {
        column: t.drops[0]
        for t in plan.translations_of(table)
        if len(t.drops) == len(t.added) == 1
        for column in t.added
    }


def _by_hand_back(plan: Plan) -> str:
    """The SQL of all down files: what people bring back by statements of their own."""
    return "\n".join(
        statement.text
        for phase in plan.phases
        for step in phase.steps
        if isinstance(step, SqlFile)
        for statement in step.downs or ()
    )


@dataclass(frozen=True, kw_only=True)
class UseFeature(Step):
    """The application starts to use what the plan has made, a view for instance."""

    feature: str
    """Its name in ``current_modes().features``."""
    phases = frozenset({CONTRACT})

    def forward(self, plan: Plan) -> Actions:
        return (use_feature(plan.name, self.feature),)

    def backward(self, plan: Plan) -> Actions:
        return (stop_using_feature(plan.name, self.feature),)
