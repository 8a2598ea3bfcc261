"""The steps that carry the data over: mapping, dual write, backfill, audit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Audit, Compute, Fill, Statement
from rollout.plan.catalog import Catalog
from rollout.plan.conversions import Conversion
from rollout.plan.dual_writes import DualWriteTriggers
from rollout.plan.extracted_tables import add_rows, delete_rows
from rollout.plan.extractions import Extract, extracts_in
from rollout.plan.hazards import Hazard, generated
from rollout.plan.identities import (
    beside_alias,
    drop_groups,
    groups,
    groups_alias,
    groups_of,
    is_filled,
    looked_up_id,
    make_groups,
    meets_group,
    row_beside,
)
from rollout.plan.mapping import add_fixed_rows, add_missing, mapping_table
from rollout.plan.names import SCHEMA, in_target
from rollout.plan.own_rows import made_id
from rollout.plan.plan import BACKFILL, ENFORCE, Actions, Plan, Step
from rollout.plan.refusals import refusal
from rollout.plan.resolvers import drop_resolver, resolver
from rollout.plan.switch import switch_modes
from rollout.plan.table import Table
from rollout.plan.translations import Lookup
from rollout.plan.updates import Assignment
from rollout.plan.value_decisions import careful_values, means_otherwise
from rollout.plan.vocabulary_columns import VocabularyColumn


def triggers(plan: Plan, table: Table) -> DualWriteTriggers:
    return DualWriteTriggers(plan.name, table, plan.translations_of(table), plan.computed_of(table))


def _making_rows(lookup: Lookup, rows: sql.Composed) -> Statement:
    return Statement(sql=rows, done=None, lookup_label=lookup.lookup_label)


@dataclass(frozen=True, kw_only=True)
class MapLegacyValues(Step):
    """Every distinct legacy text gets a mapping row, and every normal form a lookup row.

    With the mapping comes the function that says what any text means, the resolver.
    """

    table: Table
    """The table whose lookups are mapped."""
    phases = frozenset({BACKFILL})
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        return tuple(
            statement
            for lookup in plan.lookups_of(self.table)
            for statement in (
                mapping_table(lookup, plan.name),
                resolver(lookup, plan.name),
                *((_making_rows(lookup, add_fixed_rows(lookup)),) if lookup.rows else ()),
                _making_rows(lookup, add_missing(lookup, plan.name)),
            )
        )

    def backward(self, plan: Plan) -> Actions:
        return tuple(
            statement
            for lookup in plan.lookups_of(self.table)
            for statement in (
                drop_resolver(lookup, plan.name),
                Statement(sql=sql.SQL("DELETE FROM {}").format(lookup.lookup_sql), done=None),
                Statement(
                    sql=sql.SQL("DROP TABLE IF EXISTS {}").format(
                        in_target(lookup.mapping_name(plan.name))
                    ),
                    done=facts.no(
                        facts.relation_exists(
                            sql.Identifier(SCHEMA, lookup.mapping_name(plan.name))
                        )
                    ),
                ),
            )
        )


@dataclass(frozen=True, kw_only=True)
class StartDualWrite(Step):
    """Triggers fill the new columns of every row that is written from now on."""

    table: Table
    """The table that gets the triggers."""
    phases = frozenset({BACKFILL})
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        return (triggers(plan, self.table).install("forward"),)

    def backward(self, plan: Plan) -> Actions:
        return (
            triggers(plan, self.table).remove(),
            Fill(
                kind="clear",
                table=self.table,
                assignments=tuple(
                    Assignment(column, sql.SQL("NULL"))
                    for t in (*plan.translations_of(self.table), *plan.computed_of(self.table))
                    for column in t.added
                ),
                keeps=kept_when_cleared(plan, self.table),
            ),
            *map(delete_rows, extracts_in(plan.conversions_of(self.table))),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        triggers(plan, self.table).put_into(catalog, "forward")

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        """The columns read, when some are: a trigger would see nothing in a generated one.

        And the texts outside of a vocabulary.
        """
        read = dict.fromkeys(
            column
            for t in (*plan.translations_of(self.table), *plan.computed_of(self.table))
            for column in t.reads
        )
        outside = [
            t.outside for t in plan.conversions_of(self.table) if isinstance(t, VocabularyColumn)
        ]
        return (*((generated(self.table, tuple(read)),) if read else ()), *outside)


def kept_when_cleared(plan: Plan, table: Table) -> tuple[str, ...]:
    """The columns that hold what the new ones were made of."""
    own = (*plan.translations_of(table), *plan.computed_of(table))
    cleared = {column for t in own for column in t.added}
    return tuple(dict.fromkeys(c for t in own for c in t.reads if c not in cleared))


def legacy_again(plan: Plan, table: Table, *, dropped: bool = False) -> Actions:
    """The pass that writes legacy columns by the ways back, where new values were written alone.

    Without those that were ``dropped``: an archive restores them.
    """
    assignments = [
        Assignment(
            column,
            sql.SQL("(CASE WHEN {} THEN {} ELSE {} END)").format(
                means_otherwise(t, plan.name, "t"),
                value,
                sql.Identifier("t", column),
            ),
        )
        for t in plan.conversions_of(table)
        for column, value in t.legacy_values("t").items()
        if not (dropped and t.drops)
    ]
    if not assignments:
        return ()
    return (Fill(kind="restore", table=table, assignments=tuple(assignments)),)


@dataclass(frozen=True, kw_only=True)
class WriteBoth(Step):
    """The application writes the legacy columns and the new ones; it still reads the legacy."""

    phases = frozenset({BACKFILL})
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        return (switch_modes(plan.name, read="legacy", write="both"),)

    def backward(self, plan: Plan) -> Actions:
        return (switch_modes(plan.name, read="legacy", write="legacy"),)


def fill(plan: Plan, table: Table) -> Fill:
    """The pass that brings every translation of a table to what the legacy values say."""
    lookups = plan.lookups_of(table)
    normal_forms = {
        lookup.legacy: sql.Identifier(lookup.mapping_alias, "normal") for lookup in lookups
    }

    def assignments(
        *, careful: bool, spared: bool = False, by: _By | None = None
    ) -> tuple[Assignment, ...]:
        return tuple(
            assignment
            for t in plan.translations_of(table)
            for assignment in (
                [Assignment(t.column, sql.Identifier(t.mapping_alias, "lookup_id"))]
                if isinstance(t, Lookup)
                else _by(by, t)
                if by and isinstance(t, Extract) and (t in shared or by == "row beside")
                else _converted(plan, t, normal_forms, careful=careful, spared=spared)
            )
        )

    emptied = [t for t in plan.conversions_of(table) if t.leaves_empty]
    decided = [t for t in plan.conversions_of(table) if t.asks_people]
    # Where a value's length alone makes it one that does not convert, no error tells it in time.
    cuts = any(t.cuts for t in emptied)
    # What stands for a row's id where a pass is only tested: its table may not be there yet.
    extracts = extracts_in(plan.conversions_of(table))
    shared = [t for t in extracts if not t.is_split]
    ids = {
        t.column: Assignment(
            t.column, sql.Identifier("t", t.key[0]) if t.is_split else sql.SQL("1")
        )
        for t in extracts
    }

    def with_sweep(swept: Fill, *, careful: bool) -> Fill:
        """The sweep joins each row with its new one, rather than to look it up."""
        beside = tuple(map(row_beside, extracts))
        by_rows = assignments(careful=careful, by="row beside")
        return replace(swept, swept=replace(swept, assignments=by_rows, beside=beside))

    tested = assignments(careful=False) if cuts or ids else ()
    plain = Fill(
        kind="fill",
        table=table,
        assignments=assignments(careful=cuts),
        trial_assignments=tuple(ids.get(a.column, a) for a in tested),
        joins=tuple(
            sql.SQL("{} AS {}").format(
                in_target(lookup.mapping_name(plan.name)), sql.Identifier(lookup.mapping_alias)
            )
            for lookup in lookups
        ),
        matches=tuple(
            sql.SQL("{} = {}").format(
                sql.Identifier(lookup.mapping_alias, "legacy"), lookup.legacy_text("t")
            )
            for lookup in lookups
        ),
        trial_joins=tuple(
            sql.SQL("(SELECT 1 AS lookup_id, ''::text AS normal) AS {}").format(
                sql.Identifier(lookup.mapping_alias)
            )
            for lookup in lookups
        ),
    )
    if extracts:
        plain = with_sweep(plain, careful=cuts)
    if shared:
        joined = replace(
            plain,
            assignments=assignments(careful=cuts, by="joins"),
            joins=(*plain.joins, *map(groups, shared)),
            matches=(*plain.matches, *map(meets_group, shared)),
        )
        plain = replace(
            plain,
            joined=joined,
            looked_up=replace(plain, assignments=assignments(careful=cuts, by="look-ups")),
            groups=tuple(map(groups_of, shared)),
        )
    if not emptied and not decided:
        return plain
    values = [v for t in (*emptied, *decided) for v in t.values("t").values()]
    careful = replace(
        plain,
        assignments=assignments(careful=True),
        raises=None
        if any(t.cuts for t in (*emptied, *decided))
        else sql.SQL(", ").join(sql.SQL("count({})").format(value) for value in values),
        spared=assignments(careful=True, spared=True) if decided else (),
        refused=sql.SQL("({})").format(
            sql.SQL(" OR ").join(
                sql.SQL("{} IS NOT NULL").format(refusal(t, plan.name, "t"))
                for t in (*emptied, *decided)
            )
        ),
    )
    return replace(plain, careful=with_sweep(careful, careful=True) if extracts else careful)


_By = Literal["joins", "look-ups", "row beside"]


def _by(by: _By, extract: Extract) -> list[Assignment]:
    """The new column of an extraction, where more than the row itself is at hand."""
    if by == "row beside":
        right = extract.is_right("t", beside=beside_alias(extract))
        return [Assignment(extract.column, sql.Identifier("t", extract.column), unless=right)]
    # Where a stripe is done, its rows are met again. That they have the right id, the sweep proves.
    value = sql.Identifier(groups_alias(extract), "id")
    return [
        Assignment(
            extract.column,
            value if by == "joins" else looked_up_id(extract),
            unless=is_filled(extract),
        )
    ]


def _converted(
    plan: Plan,
    conversion: Conversion,
    normal_forms: Mapping[str, sql.Composable],
    *,
    careful: bool,
    spared: bool,
) -> list[Assignment]:
    """The new columns of a conversion; ``careful`` leaves those empty that may be.

    So does ``spared`` with those that people are still to decide about.
    """
    if careful and (conversion.leaves_empty or conversion.asks_people):
        raising = conversion.asks_people and not spared
        values = careful_values(conversion, plan.name, "t", normal_forms, raising=raising)
    else:
        values = conversion.values("t", normal_forms)
    if not isinstance(conversion, Extract):
        return [Assignment(column, value) for column, value in values.items()]
    if conversion.is_split:
        values = {conversion.column: made_id(conversion, "t")}
    unless = conversion.is_right("t")
    return [Assignment(column, value, unless=unless) for column, value in values.items()]


@dataclass(frozen=True, kw_only=True)
class Backfill(Step):
    """Every row that was there before the dual write is filled in, in one pass."""

    table: Table
    """The table that is filled."""
    phases = frozenset({BACKFILL})
    changes_write_path = True

    def forward(self, plan: Plan) -> Actions:
        unknown = [
            _making_rows(lookup, add_missing(lookup, plan.name))
            for lookup in plan.lookups_of(self.table)
        ]
        passes: Actions = tuple(
            Compute(
                table=self.table,
                columns=tuple(computed.columns),
                reads=computed.reads,
                function=computed.function,
            )
            for computed in plan.computed_of(self.table)
        )
        if plan.translations_of(self.table):
            passes = (fill(plan, self.table), *passes)
        shared = self._shared(plan)
        rows = [
            statement for t in shared for statement in (add_rows(t, plan.name), *make_groups(t))
        ]
        return (*unknown, *rows, *passes, *map(drop_groups, shared))

    def backward(self, plan: Plan) -> Actions:
        """The values are cleared when the dual write is taken away."""
        return tuple(map(drop_groups, self._shared(plan)))

    def _shared(self, plan: Plan) -> list[Extract]:
        """The extractions of which several rows may mean one."""
        return [t for t in extracts_in(plan.conversions_of(self.table)) if not t.is_split]


@dataclass(frozen=True, kw_only=True)
class FullAudit(Step):
    """Every row's new values are compared with its legacy values; a mismatch stops the phase."""

    phases = frozenset({BACKFILL, ENFORCE})

    def forward(self, plan: Plan) -> Actions:
        return (Audit(),)

    def backward(self, plan: Plan) -> Actions:
        return ()
