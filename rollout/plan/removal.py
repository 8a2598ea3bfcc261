"""The steps that take the legacy columns away: freeze, archive, drop; and use what came instead."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from rollout.plan import attributes, facts
from rollout.plan.actions import Assignment, Fill, Lock, LockMode, Proof, Statement
from rollout.plan.catalog import Catalog, Part
from rollout.plan.hazards import (
    Hazard,
    depends_on,
    fed_around,
    goes_with,
    mentions,
    no_longer_unique,
    replica_identity,
    unclear_default,
)
from rollout.plan.indexes import CreateIndex, DropIndex
from rollout.plan.mapping import text_of_row
from rollout.plan.names import SCHEMA, code, identifier, in_target
from rollout.plan.resolvers import name_the_rows, resolver_name
from rollout.plan.schema import require_values
from rollout.plan.sql_files import SqlFile
from rollout.plan.step import (
    CONTRACT,
    Actions,
    Shape,
    Step,
)
from rollout.plan.switch import stop_using_feature, use_feature
from rollout.plan.table import Column, Table
from rollout.plan.transition import triggers
from rollout.plan.translations import Lookup

if TYPE_CHECKING:
    from rollout.plan.plan import Plan


@dataclass(frozen=True, kw_only=True)
class FreezeLegacy(Step):
    """A write that changes only a legacy column is refused from now on: its text is archived."""

    table: Table
    phases = frozenset({CONTRACT})
    restrictive = True
    changes_write_path = True

    def forward(self, plan: "Plan") -> Actions:
        gone = facts.all_of(
            *(
                facts.no(facts.column_exists(self.table, lookup.legacy))
                for lookup in plan.lookups_of(self.table)
            )
        )
        return (unless(gone, triggers(plan, self.table).install("frozen")),)

    def backward(self, plan: "Plan") -> Actions:
        return (triggers(plan, self.table).install("reverse"),)

    def recatalog(self, plan: "Plan", catalog: Catalog) -> None:
        triggers(plan, self.table).put_into(catalog, "frozen")

    def hazards(self, plan: "Plan") -> tuple[Hazard, ...]:
        own = triggers(plan, self.table)
        return (fed_around(self.table, (own.insert_trigger, own.update_trigger)),)


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
    )


def archive_name(plan: "Plan", table: Table) -> str:
    return identifier(plan.name, table.label, "archive")


def fingerprint(archive: sql.Composable) -> sql.Composed:
    """SQL of a text that changes with any row of an archive: it is the archive's comment."""
    return sql.SQL(
        "(SELECT count(*) || ' rows, ' || coalesce(sum(hash_record_extended(a.*, 0)), 0)"
        " FROM {} AS a)"
    ).format(archive)


DIGEST = "rollout_digest"
"""The column of an archive that tells whether a row is what it was when it was archived."""


def digest(plan: "Plan", table: Table, row: str) -> sql.Composed:
    """SQL of the digest of an archived row; ``row`` is an alias of the table or of its archive."""
    columns: list[sql.Composable] = [sql.Identifier(row, c) for c in table.key]
    for lookup in plan.lookups_of(table):
        # As bytes: a collation may take texts for equal that differ.
        columns.append(
            sql.SQL('{} COLLATE "C"').format(lookup.text(sql.Identifier(row, lookup.legacy)))
        )
        columns.append(sql.Identifier(row, lookup.column))
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(columns))


def archive_is_whole(plan: "Plan", table: Table) -> Proof:
    """Every archived row is what it was, and all of them are there.

    Who has seen to a row by hand empties its digest; who has seen to all, the archive's comment.
    """
    archive = in_target(archive_name(plan, table))
    return Proof(
        table=Table(name=archive_name(plan, table), schema=SCHEMA, key=table.key, columns={}),
        differs=sql.SQL(
            "(CASE WHEN {} <> {} THEN 'the archive has another text or lookup row than when it was"
            " made' END)"
        ).format(sql.Identifier("t", DIGEST), digest(plan, table, "t")),
        source=archive,
        exact=facts.TRUE,
        recorded=sql.SQL("obj_description({}::regclass, 'pg_class')").format(
            sql.Literal(archive.as_string())
        ),
        outcome="kept",
    )


def texts_are_back(plan: "Plan", table: Table) -> Proof:
    """Every row has its text again: the archived one to the letter, or what its lookup row is
    written as.
    """
    lookups = plan.lookups_of(table)
    # By "=", or no index of the archive would be used: every row would go through all of it.
    same_key = [
        sql.SQL("{} = {}").format(sql.Identifier("a", c), sql.Identifier("t", c)) for c in table.key
    ]
    same_rows = [
        sql.SQL("{} IS NOT DISTINCT FROM {}").format(
            sql.Identifier("a", lookup.column), sql.Identifier("t", lookup.column)
        )
        for lookup in lookups
    ]
    same = sql.SQL(" AND ").join([*same_key, *same_rows])
    differences = sql.SQL(", ").join(
        sql.SQL(
            'CASE WHEN {has} COLLATE "C" IS DISTINCT FROM {should} COLLATE "C"'
            " THEN format('%s is %L instead of %L', {name}::text, {has}, {should}) END"
        ).format(
            has=lookup.text(sql.Identifier("t", lookup.legacy)),
            should=legacy_text_again(plan, lookup),
            name=sql.Literal(lookup.legacy),
        )
        for lookup in lookups
    )
    archive = in_target(archive_name(plan, table))
    return Proof(
        table=table,
        differs=sql.SQL("nullif(concat_ws('; ', {}), '')").format(differences),
        exact=sql.SQL("EXISTS (SELECT FROM {} AS a WHERE {})").format(archive, same),
        source=archive,
        outcome="restored",
    )


def legacy_text_again(plan: "Plan", lookup: Lookup) -> sql.Composed:
    """SQL of the legacy text of a row ``t`` that has only its lookup row left.

    The archived text where the row still means the same lookup row, else the text that the lookup
    row is written as.
    """
    table = lookup.table
    same_key = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("a", c), sql.Identifier("t", c)) for c in table.key
    )
    return sql.SQL(
        "(SELECT CASE WHEN a.{key} IS NOT NULL THEN {legacy}"
        " ELSE {text} END"
        " FROM (SELECT) AS this LEFT JOIN {lookup} AS l ON l.id = t.{column}"
        " LEFT JOIN {archive} AS a ON {same_key}"
        " AND a.{column} IS NOT DISTINCT FROM t.{column})"
    ).format(
        key=sql.Identifier(table.key[0]),
        legacy=lookup.text(sql.Identifier("a", lookup.legacy)),
        text=text_of_row(lookup, plan.name, "l"),
        lookup=lookup.lookup_sql,
        archive=in_target(archive_name(plan, table)),
        same_key=same_key,
        column=sql.Identifier(lookup.column),
    )


@dataclass(frozen=True, kw_only=True)
class ArchiveLegacy(Step):
    """The exact legacy text of every row, beside the lookup row it meant, is kept in the target.

    A row's text can change from here on only together with its lookup row, and the archive tells
    that from the row, so what is written after the archive needs no place in it. Its comment is
    its fingerprint, so that an audit sees whether any of it is lost.
    """

    table: Table
    phases = frozenset({CONTRACT})

    def forward(self, plan: "Plan") -> Actions:
        name = archive_name(plan, self.table)
        columns: list[sql.Composable] = [sql.Identifier("t", c) for c in self.table.key]
        for lookup in plan.lookups_of(self.table):
            columns += [sql.Identifier("t", c) for c in (lookup.legacy, lookup.column)]
        columns.append(
            sql.SQL("{} AS {}").format(digest(plan, self.table, "t"), sql.Identifier(DIGEST))
        )
        return (
            Statement(
                sql=sql.SQL(
                    "CREATE TABLE {archive} AS SELECT {columns} FROM {table} AS t;\n"
                    "ALTER TABLE {archive} ADD PRIMARY KEY ({key});\n"
                    "DO {comment};\n"
                    "ANALYZE {archive}"
                ).format(
                    archive=in_target(name),
                    comment=sql.Literal(
                        sql.SQL("BEGIN EXECUTE format('COMMENT ON TABLE %s IS %L', {}, {}); END")
                        .format(
                            sql.Literal(in_target(name).as_string()), fingerprint(in_target(name))
                        )
                        .as_string()
                    ),
                    columns=sql.SQL(", ").join(columns),
                    table=self.table.identifier,
                    key=sql.SQL(", ").join(sql.Identifier(c) for c in self.table.key),
                ),
                done=facts.relation_exists(sql.Identifier(SCHEMA, name)),
                locks=(Lock(LockMode.ACCESS_SHARE, self.table.label),),
                long=True,
                # The table is read, and its copy for the key, for its comment and for statistics.
                scans=4,
            ),
        )

    def backward(self, plan: "Plan") -> Actions:
        name = archive_name(plan, self.table)
        return (
            Statement(
                sql=sql.SQL("DROP TABLE IF EXISTS {};\n{}").format(
                    in_target(name), attributes.forget(plan.name, self.table)
                ),
                done=facts.no(facts.relation_exists(sql.Identifier(SCHEMA, name))),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DropLegacy(Step):
    """The legacy columns go, and with them the triggers.

    The mapping stays, and the resolver that reads it: people go on to type what they typed, and
    what was decided about it still stands.

    The way back looks whether the archive is whole, adds the columns again, turns the dual write
    on, and restores every row's text: the archived one where the row still means the same lookup
    row, else what that row is written as. Then it compares every row with what it should have. A
    column that was NOT NULL becomes so again, without a scan under an exclusive lock.
    """

    table: Table
    phases = frozenset({CONTRACT})
    destructive = True
    changes_write_path = True

    def _columns(self, plan: "Plan") -> dict[str, Column]:
        legacy = [lookup.legacy for lookup in plan.lookups_of(self.table)]
        # One that the table lacks is for the plan's check to name, not to stumble over here.
        return {name: self.table.columns[name] for name in legacy if name in self.table.columns}

    def forward(self, plan: "Plan") -> Actions:
        columns = self._columns(plan)
        not_nulls = [identifier(self.table.name, column, "not_null") for column in columns]
        lookups = [lookup for lookup in plan.lookups_of(self.table) if lookup.legacy in columns]
        drop = Statement(
            sql=sql.SQL(";\n").join(
                [
                    attributes.keep(plan.name, self.table, tuple(columns), not_nulls),
                    *(
                        attributes.default_of(
                            *(plan.name, self.table, lookup.legacy, lookup.column),
                            in_target(resolver_name(lookup, plan.name)),
                        )
                        for lookup in lookups
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
        )
        # Without its triggers a column that is NOT NULL would refuse who knows the new ones alone,
        # for as long as its drop waits for the lock.
        return (together(triggers(plan, self.table).remove(), drop),)

    def backward(self, plan: "Plan") -> Actions:
        columns = self._columns(plan)
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
                    Assignment(lookup.legacy, lookup.of_text(legacy_text_again(plan, lookup)))
                    for lookup in plan.lookups_of(self.table)
                ),
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
            *attributes.put_back_the_rest(plan.name, self.table),
            texts_are_back(plan, self.table),
        )

    def _triggers_before(self, plan: "Plan") -> Statement:
        """The triggers in the stage in which they were before they went.

        Text that was frozen stays so until it is restored: it says no more than its row, so that
        whoever writes meanwhile leaves nothing that the archive could be taken for.
        """
        reverse = triggers(plan, self.table).install("reverse")
        assert reverse.done is not None
        steps = (step for phase in plan.phases for step in phase.steps)
        if any(isinstance(step, FreezeLegacy) and step.table == self.table for step in steps):
            # What is undone after this turns them round for good.
            return unless(reverse.done, triggers(plan, self.table).install("frozen"))
        return reverse

    def reshape(self, plan: "Plan", shape: Shape) -> None:
        for column in self._columns(plan):
            shape.get(self.table.label, {}).pop(column, None)

    def recatalog(self, plan: "Plan", catalog: Catalog) -> None:
        triggers(plan, self.table).take_from(catalog)
        for column in self._columns(plan):
            catalog.know(self.table.label, Part("constraint", facts.check_name(self.table, column)))

    def hazards(self, plan: "Plan") -> tuple[Hazard, ...]:
        columns = tuple(self._columns(plan))
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
            *(unclear_default(self.table, column) for column in columns),
            no_longer_unique(self.table, columns, self._unique_successors(plan)),
        )

    def _unique_successors(self, plan: "Plan") -> list[tuple[str, ...]]:
        """The columns of unique indexes that the plan builds, by the legacy ones they stand for."""
        legacy = {lookup.column: lookup.legacy for lookup in plan.lookups_of(self.table)}
        return [
            tuple(legacy.get(column, column) for column in step.columns)
            for phase in plan.phases[:CONTRACT]
            for step in phase.steps
            if isinstance(step, CreateIndex) and step.unique and step.table == self.table
        ]


def _by_hand_back(plan: "Plan") -> str:
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
    phases = frozenset({CONTRACT})

    def forward(self, plan: "Plan") -> Actions:
        return (use_feature(plan.name, self.feature),)

    def backward(self, plan: "Plan") -> Actions:
        return (stop_using_feature(plan.name, self.feature),)
