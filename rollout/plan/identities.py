"""The identity of a group of values: groups of one identity mean one row of the new table."""

from collections.abc import Mapping

from psycopg import sql

from rollout.plan.actions import Statement
from rollout.plan.extractions import Extract, digest, listed
from rollout.plan.names import code, identifier, in_target

# In the place of the hash of an identity.
NO_VALUES = sql.SQL("0")
# Blocks of the new table that one statement reads.
_BLOCKS = 4096


def identity_of(extract: Extract, values: Mapping[str, sql.Composable]) -> sql.Composed:
    """SQL of the identity of values by legacy column; NULL for a group without values."""
    return digest(_text(extract, values))


def _text(extract: Extract, values: Mapping[str, sql.Composable]) -> sql.Composed:
    """SQL of the text whose digest an identity is."""
    empty = {column: extract.is_empty(column, value) for column, value in values.items()}
    # A legacy column that is NOT NULL cannot tell an empty text from NULL.
    values = {column: extract.told_by(column, value) for column, value in values.items()}
    by_key: sql.Composable = sql.SQL("")
    key = [column for column in extract.shared_key if column in values]
    if key:
        by_key = sql.SQL(" WHEN NOT ({}) THEN {}").format(
            sql.SQL(" AND ").join(empty[column] for column in key),
            listed("key ", (values[column] for column in key)),
        )
    return sql.SQL("CASE WHEN {} THEN NULL{} ELSE {} END").format(
        sql.SQL(" AND ").join(empty.values()), by_key, listed("group ", values.values())
    )


def _hash_of(extract: Extract, values: Mapping[str, sql.Composable]) -> sql.Composed:
    """SQL of a hash of the same, which costs half of the digest; NULL for one without values."""
    return sql.SQL('pg_catalog.hashtextextended(({}) COLLATE "C", 0)').format(
        _text(extract, values)
    )


def groups_alias(extract: Extract) -> str:
    """The name of ``groups`` in a statement."""
    return identifier("groups", extract.column)


def groups(extract: Extract) -> sql.Composed:
    """A FROM item of the identities of all rows of the new table, by which row ``t`` meets its own.

    Rows without values meet the one without an id; a row whose group has no row meets none.
    """
    return sql.SQL("{} AS {}").format(groups_of(extract), sql.Identifier(groups_alias(extract)))


def meets_group(extract: Extract) -> sql.Composed:
    """SQL condition: row ``t`` meets that row of ``groups``."""
    values = {column: sql.Identifier("t", column) for column in extract.legacy}
    return sql.SQL("{}.identity = coalesce({}, {})").format(
        sql.Identifier(groups_alias(extract)), _hash_of(extract, values), NO_VALUES
    )


def looked_up_id(extract: Extract) -> sql.Composed:
    """SQL of the id of row ``t``'s group; of one that is not among ``groups``, by its row."""
    values = {column: sql.Identifier("t", column) for column in extract.legacy}
    return sql.SQL("coalesce((SELECT g.id FROM {} AS g WHERE g.identity = {}), {})").format(
        groups_of(extract), _hash_of(extract, values), extract.values("t")[extract.column]
    )


def is_filled(extract: Extract) -> sql.Composed:
    """SQL condition: row ``t`` has an id if it has values, whatever row that is."""
    values = {c: sql.Identifier("t", c) for c in extract.legacy}
    return sql.SQL("(({}) = ({} IS NULL))").format(
        extract.is_without_values(values), sql.Identifier("t", extract.column)
    )


def beside_alias(extract: Extract) -> str:
    """The name of ``row_beside`` in a statement."""
    return identifier("beside", extract.column)


def row_beside(extract: Extract) -> sql.Composed:
    """SQL that joins the new row to which row ``t`` points, if to any."""
    alias = beside_alias(extract)
    return sql.SQL(" LEFT JOIN {} AS {} ON {} = {}").format(
        extract.lookup_sql,
        sql.Identifier(alias),
        sql.Identifier(alias, "id"),
        sql.Identifier("t", extract.column),
    )


def groups_of(extract: Extract) -> sql.Identifier:
    """The table of the engine's own that has them, for as long as a fill takes.

    With its index it is a fraction of the new table. It has a hash of each identity: where two are
    of one hash, the sweep after the fill tells, and the next round computes them.
    """
    return in_target(extract.groups_name)


def make_groups(extract: Extract) -> tuple[Statement, ...]:
    """Write the identities down, some blocks at a time; the last row says that all are there.

    After a crash of the server the table is empty: then the fill looks every row up.
    """
    table = groups_of(extract)
    values = {c: sql.Identifier("e", name) for c, name in extract.names.items()}
    made = sql.SQL(
        "DROP TABLE IF EXISTS {0};\nCREATE UNLOGGED TABLE {0} (identity bigint, id {1})"
    ).format(table, code(extract.key_type))
    insert = sql.SQL(
        "INSERT INTO {} SELECT {}, e.id FROM {} AS e WHERE NOT ({}) AND e.ctid >= '("
    ).format(
        table,
        _hash_of(extract, values),
        extract.lookup_sql,
        extract.is_without_values(values),
    )
    ended = sql.SQL(
        "INSERT INTO {0} VALUES ({1}, NULL);\nCREATE INDEX ON {0} (identity) INCLUDE (id)"
    ).format(table, NO_VALUES)
    statements = sql.SQL(
        "SELECT s.statement FROM ("
        "SELECT -1, {made} UNION ALL "
        "SELECT first, {insert} || first || ',0)'' AND e.ctid < ''(' || first + {blocks}"
        " || ',0)''' FROM generate_series(0, pg_relation_size({table})"
        " / current_setting('block_size')::int, {blocks}) AS p (first) UNION ALL "
        "SELECT NULL, {ended}) AS s (place, statement) ORDER BY s.place"
    ).format(
        made=sql.Literal(made.as_string()),
        insert=sql.Literal(insert.as_string()),
        ended=sql.Literal(ended.as_string()),
        blocks=sql.Literal(_BLOCKS),
        table=sql.Literal(extract.lookup_sql.as_string()),
    )
    return (
        Statement(sql=statements, done=None, generates=True),
        # What every transaction sees is read from the index alone.
        Statement(sql=sql.SQL("VACUUM (ANALYZE) {}").format(table), done=None, long=True),
    )


def drop_groups(extract: Extract) -> Statement:
    # That it is not there tells nothing of how far a phase is.
    return Statement(sql=sql.SQL("DROP TABLE IF EXISTS {}").format(groups_of(extract)), done=None)


def forget_group(extract: Extract) -> sql.Composed:
    """A line of a trigger of the new table: a row with other values has another identity now.

    A fill that meets a row of the one before is not to point it there. The table may go between
    the two looks at it: the application's write is not to fail for that.
    """
    values = {c: sql.Identifier("old", name) for c, name in extract.names.items()}
    return sql.SQL(
        "  IF to_regclass({}) IS NOT NULL THEN\n    BEGIN\n"
        "      DELETE FROM {} WHERE identity = {};\n"
        "    EXCEPTION WHEN undefined_table THEN NULL;\n    END;\n  END IF;"
    ).format(
        sql.Literal(groups_of(extract).as_string()),
        groups_of(extract),
        _hash_of(extract, values),
    )
