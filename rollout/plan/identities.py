"""The identity of a group of values: groups of one identity mean one row of the new table."""

from collections.abc import Mapping

from psycopg import sql

from rollout.plan.extractions import Extract, digest, listed
from rollout.plan.names import code, identifier


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


def groups_alias(extract: Extract) -> str:
    """The name of ``groups`` in a statement."""
    return identifier("groups", extract.column)


def groups(extract: Extract) -> sql.Composed:
    """A FROM item of all rows of the new table, by which every row ``t`` meets its own.

    Rows without values meet the one without an id; a row whose group has no row meets none.
    """
    values = {column: sql.Identifier("e", name) for column, name in extract.names.items()}
    return sql.SQL(
        "(SELECT {} AS identity, e.id FROM {} AS e UNION ALL SELECT '', NULL::{}) AS {}"
    ).format(
        _text(extract, values),
        extract.lookup_sql,
        code(extract.key_type),
        sql.Identifier(groups_alias(extract)),
    )


def meets_group(extract: Extract) -> sql.Composed:
    """SQL condition: row ``t`` meets that row of ``groups``. To the letter, whatever the
    collations are.
    """
    values = {column: sql.Identifier("t", column) for column in extract.legacy}
    return sql.SQL('{}.identity COLLATE "C" = coalesce({}, \'\') COLLATE "C"').format(
        sql.Identifier(groups_alias(extract)), _text(extract, values)
    )
