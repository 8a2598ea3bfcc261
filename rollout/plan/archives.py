"""The archive of a table's legacy values: how it is made, proved, and restored from."""

from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg import sql

from rollout.plan import attributes, facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.archived_values import ARCHIVED, Kept, kept_of
from rollout.plan.copies import Copy
from rollout.plan.names import SCHEMA, identifier, in_target
from rollout.plan.plan import CONTRACT, Actions, Plan, Step
from rollout.plan.proofs import Proof
from rollout.plan.table import Table
from rollout.plan.updates import Assignment


def archive_name(plan: Plan, table: Table) -> str:
    return identifier(plan.name, table.label, "archive")


def fingerprint(archive: sql.Composable) -> sql.Composed:
    """SQL of a text that changes with any row of an archive: it is the archive's comment."""
    return sql.SQL(
        "(SELECT count(*) || ' rows, ' || coalesce(sum(hash_record_extended(a.*, 0)), 0)"
        " FROM {} AS a)"
    ).format(archive)


# An archive's column with a digest of each archived row.
DIGEST = "rollout_digest"


def digest(plan: Plan, table: Table, row: str) -> sql.Composed:
    """SQL of the digest of an archived row; ``row`` is an alias of the table or of its archive."""
    columns: list[sql.Composable] = [sql.Identifier(row, c) for c in table.key]
    for kept in kept_of(plan, table):
        columns += kept.compared(row)
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(columns))


def _differs_from_digest(plan: Plan, table: Table, row: str) -> sql.Composed:
    """SQL of how an archived row differs from what was archived, null where it does not."""
    return sql.SQL(
        "(CASE WHEN {} <> {} THEN 'the archive has another text or lookup row than when it was"
        " made' END)"
    ).format(sql.Identifier(row, DIGEST), digest(plan, table, row))


def archive_is_whole(plan: Plan, table: Table) -> Proof:
    """Every archived row is what it was, and all of them are there.

    Clear a row's digest, or the archive's comment, after repairing by hand.
    """
    archive = in_target(archive_name(plan, table))
    return Proof(
        table=Table(name=archive_name(plan, table), schema=SCHEMA, key=table.key, columns={}),
        differs=_differs_from_digest(plan, table, "t"),
        source=archive,
        exact=facts.TRUE,
        recorded=sql.SQL("obj_description({}::regclass, 'pg_class')").format(
            sql.Literal(archive.as_string())
        ),
        outcome="kept",
    )


def texts_are_back(plan: Plan, table: Table) -> Proof:
    """Every row has its legacy values again: the archived ones to the letter, or what its new
    values are written as.
    """
    differences = sql.SQL(", ").join(
        _differs(kept, column, "'%s is %L instead of %L'")
        for kept in kept_of(plan, table)
        for column in kept.legacy
    )
    differs = sql.SQL("nullif(concat_ws('; ', {}), '')").format(differences)
    return _proof_of_texts(plan, table, differs, outcome="restored")


def _differs(
    kept: Kept, column: str, wording: LiteralString, *besides: sql.Composable
) -> sql.Composed:
    """SQL of how a legacy value of row ``t`` differs from the one that would be restored, else
    null.

    The wording is that of a column, its value and the other one, as a literal. ``besides`` are
    conditions that must hold too.
    """
    return sql.SQL(
        'CASE WHEN {has} COLLATE "C" IS DISTINCT FROM {should} COLLATE "C"{besides}'
        " THEN format({wording}, {name}::text, {has}, {should}) END"
    ).format(
        has=kept.text(column),
        should=kept.text_again(column),
        besides=sql.SQL("").join(sql.SQL(" AND {}").format(also) for also in besides),
        wording=sql.SQL(wording),
        name=sql.Literal(column),
    )


def _proof_of_texts(
    plan: Plan,
    table: Table,
    differs: sql.Composable,
    *,
    outcome: Literal["restored", "archived"],
    done: sql.Composable | None = None,
) -> Proof:
    """A proof that compares each row's legacy values with those that would be restored."""
    joins, matches = joins_of_texts(plan, table)
    return Proof(
        table=table,
        joins=joins,
        matches=matches,
        differs=differs,
        exact=sql.SQL(" AND ").join(kept.means_the_same for kept in kept_of(plan, table)),
        source=in_target(archive_name(plan, table)),
        done=done,
        outcome=outcome,
    )


def joins_of_texts(
    plan: Plan, table: Table
) -> tuple[tuple[sql.Composable, ...], tuple[sql.Composable, ...]]:
    """FROM items that row ``t``'s legacy values are known from, and the condition of each.

    Of each a row meets at most one: its row of the archive, and for each lookup the text that its
    lookup row is written as, where the archive does not say.
    """
    items: list[sql.Composable] = [
        sql.SQL("{} AS {}").format(in_target(archive_name(plan, table)), sql.Identifier(ARCHIVED))
    ]
    items += [kept.join for kept in kept_of(plan, table) if kept.join is not None]
    # By "=", or no index of the archive would be used: every row would go through all of it.
    same_key = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(ARCHIVED, c), sql.Identifier("t", c))
        for c in table.key
    )
    return tuple(items), (same_key, *(facts.TRUE for _ in items[1:]))


def texts_are_archived(plan: Plan, table: Table) -> Proof:
    """Of every row the way back would restore the legacy values that it has now.

    A row that was written since they were frozen may have what its new values are written as
    instead of what is archived.
    """
    archived = [(kept, column) for kept in kept_of(plan, table) for column in kept.legacy]
    differences = sql.SQL(", ").join(
        _differs(kept, column, "'%s is %L, archived as %L'", kept.is_of_old(column))
        for kept, column in archived
    )
    differs = sql.SQL("nullif(concat_ws('; ', {}, {}), '')").format(
        _differs_from_digest(plan, table, ARCHIVED), differences
    )
    there = facts.all_of(*(facts.column_exists(table, column) for _, column in archived))
    return _proof_of_texts(plan, table, differs, outcome="archived", done=facts.no(there))


@dataclass(frozen=True, kw_only=True)
class ArchiveLegacy(Step):
    """Keeps every row's exact legacy values, with the new values that they meant, in a table of
    the target.

    A pass like the backfill's fills it, under another name until it is whole. From the freeze on a
    row's legacy value changes only together with its new one, and the archive shows that from the
    row: later writes need no place in it. The archive's comment is its fingerprint, the sum of
    those that each batch took of its rows, so that an audit notices lost rows. At the end every row
    is compared with it.
    """

    table: Table
    """The table whose legacy columns are archived."""
    phases = frozenset({CONTRACT})

    def forward(self, plan: Plan) -> Actions:
        whole, unfinished = archive_name(plan, self.table), _unfinished_name(plan, self.table)
        archive, draft = in_target(whole), in_target(unfinished)
        archived = kept_of(plan, self.table)
        values: dict[str, sql.Composable] = {c: sql.Identifier("t", c) for c in self.table.key}
        for kept in archived:
            values |= kept.columns
        columns = (
            *(Assignment(name, value) for name, value in values.items()),
            Assignment(DIGEST, digest(plan, self.table, "t")),
        )
        is_whole = facts.relation_exists(archive)
        copy = Copy(
            table=self.table,
            into=draft,
            columns=columns,
            needed=sql.SQL("({})").format(
                sql.SQL(" OR ").join(
                    kept.is_of_old(column) for kept in archived for column in kept.legacy
                )
            ),
            done=is_whole,
        )
        key = sql.SQL(", ").join(map(sql.Identifier, self.table.key))
        return (
            Statement(
                sql=sql.SQL(
                    "CREATE TABLE {draft} AS {none} WITH NO DATA;\n"
                    "ALTER TABLE {draft} ADD PRIMARY KEY ({key})"
                ).format(draft=draft, none=copy.read(facts.TRUE), key=key),
                done=sql.SQL("({} OR {})").format(is_whole, facts.relation_exists(draft)),
                locks=(Lock(LockMode.ACCESS_SHARE, self.table.label),),
            ),
            copy,
            Statement(
                sql=sql.SQL(
                    "DO {comment};\nANALYZE {draft};\nALTER TABLE {draft} RENAME TO {whole}"
                ).format(
                    comment=sql.Literal(_comment(draft)),
                    draft=draft,
                    whole=sql.Identifier(whole),
                ),
                done=is_whole,
            ),
            texts_are_archived(plan, self.table),
        )

    def backward(self, plan: Plan) -> Actions:
        names = (archive_name(plan, self.table), _unfinished_name(plan, self.table))
        tables = [in_target(name) for name in names]
        return (
            Statement(
                sql=sql.SQL("DROP TABLE IF EXISTS {};\n{}").format(
                    sql.SQL(", ").join(tables), attributes.forget(plan.name, self.table)
                ),
                done=facts.all_of(*(facts.no(facts.relation_exists(name)) for name in tables)),
            ),
        )


def _unfinished_name(plan: Plan, table: Table) -> str:
    """The name of an archive that is not whole yet."""
    return identifier(plan.name, table.label, "archive unfinished")


def _comment(draft: sql.Identifier) -> str:
    """A block that writes down the fingerprint of an archive, unless its batches did."""
    return (
        sql.SQL(
            "BEGIN IF obj_description({name}::regclass, 'pg_class') IS NULL THEN"
            " EXECUTE format('COMMENT ON TABLE %s IS %L', {name}, {print}); END IF; END"
        )
        .format(name=sql.Literal(draft.as_string()), print=fingerprint(draft))
        .as_string()
    )
