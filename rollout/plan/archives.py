"""The archive of a table's legacy texts: how it is made, proved, and restored from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from rollout.plan import attributes, facts
from rollout.plan.actions import Lock, LockMode, Proof, Statement
from rollout.plan.mapping import text_of_row
from rollout.plan.names import SCHEMA, identifier, in_target
from rollout.plan.step import (
    CONTRACT,
    Actions,
    Step,
)
from rollout.plan.table import Table
from rollout.plan.translations import Lookup

if TYPE_CHECKING:
    from rollout.plan.plan import Plan


def archive_name(plan: "Plan", table: Table) -> str:
    return identifier(plan.name, table.label, "archive")


def fingerprint(archive: sql.Composable) -> sql.Composed:
    """SQL of a text that changes with any row of an archive: it is the archive's comment."""
    return sql.SQL(
        "(SELECT count(*) || ' rows, ' || coalesce(sum(hash_record_extended(a.*, 0)), 0)"
        " FROM {} AS a)"
    ).format(archive)


# An archive's column with a digest of each archived row.
DIGEST = "rollout_digest"


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

    Clear a row's digest, or the archive's comment, after repairing by hand.
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
    joins, matches = joins_of_texts(plan, table)
    differences = sql.SQL(", ").join(
        sql.SQL(
            'CASE WHEN {has} COLLATE "C" IS DISTINCT FROM {should} COLLATE "C"'
            " THEN format('%s is %L instead of %L', {name}::text, {has}, {should}) END"
        ).format(
            has=lookup.text(sql.Identifier("t", lookup.legacy)),
            should=legacy_text_again(lookup),
            name=sql.Literal(lookup.legacy),
        )
        for lookup in lookups
    )
    return Proof(
        table=table,
        joins=joins,
        matches=matches,
        differs=sql.SQL("nullif(concat_ws('; ', {}), '')").format(differences),
        exact=sql.SQL(" AND ").join(_means_the_same(lookup) for lookup in lookups),
        source=in_target(archive_name(plan, table)),
        outcome="restored",
    )


# Alias of the archive's row of a row ``t``.
ARCHIVED = "archived"


def _means_the_same(lookup: Lookup) -> sql.Composed:
    """SQL condition: row ``t`` is archived, and means the lookup row that it meant then."""
    return sql.SQL("({} IS NOT NULL AND {} IS NOT DISTINCT FROM {})").format(
        sql.Identifier(ARCHIVED, lookup.table.key[0]),
        sql.Identifier(ARCHIVED, lookup.column),
        sql.Identifier("t", lookup.column),
    )


def _text_alias(lookup: Lookup) -> str:
    return identifier("text", lookup.column)


def joins_of_texts(
    plan: "Plan", table: Table
) -> tuple[tuple[sql.Composable, ...], tuple[sql.Composable, ...]]:
    """FROM items that row ``t``'s legacy texts are known from, and the condition of each.

    Of each a row meets at most one: its row of the archive, and for each lookup the text that its
    lookup row is written as, where the archive does not say.
    """
    lookups = plan.lookups_of(table)
    items: list[sql.Composable] = [
        sql.SQL("{} AS {}").format(in_target(archive_name(plan, table)), sql.Identifier(ARCHIVED))
    ]
    items += [
        # Without OFFSET the text would be asked for before it is known whether the archive says it.
        sql.SQL(
            "LATERAL (SELECT {} AS text FROM {} AS l WHERE l.id = {} AND NOT {} OFFSET 0) AS {}"
        ).format(
            text_of_row(lookup, plan.name, "l"),
            lookup.lookup_sql,
            sql.Identifier("t", lookup.column),
            _means_the_same(lookup),
            sql.Identifier(_text_alias(lookup)),
        )
        for lookup in lookups
    ]
    # By "=", or no index of the archive would be used: every row would go through all of it.
    same_key = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(ARCHIVED, c), sql.Identifier("t", c))
        for c in table.key
    )
    return tuple(items), (same_key, *(facts.TRUE for _ in lookups))


def legacy_text_again(lookup: Lookup) -> sql.Composed:
    """SQL of the legacy text of a row ``t`` that has only its lookup row left, over its joins.

    The archived text where the row still means the same lookup row, else the text that the lookup
    row is written as.
    """
    return sql.SQL("(CASE WHEN {} THEN {} ELSE coalesce({}, {}) END)").format(
        _means_the_same(lookup),
        lookup.text(sql.Identifier(ARCHIVED, lookup.legacy)),
        sql.Identifier(_text_alias(lookup), "text"),
        lookup.no_text,
    )


@dataclass(frozen=True, kw_only=True)
class ArchiveLegacy(Step):
    """Keeps every row's exact legacy text, with the lookup row it meant, in a table of the target.

    From here on a row's text changes only together with its lookup row, and the archive shows that
    from the row: later writes need no place in it. The archive's comment is its fingerprint, so
    that an audit notices lost rows.
    """

    table: Table
    """The table whose legacy columns are archived."""
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
