"""Questions to the catalog, each a query of one boolean: is this already so?"""

from collections.abc import Sequence

from psycopg import sql

from rollout.plan.names import SCHEMA, identifier
from rollout.plan.table import Table

TRUE = sql.SQL("true")


def _column(table: Table, column: str, condition: str) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_attribute WHERE attrelid = {} AND attname = {}"
        " AND NOT attisdropped AND {})"
    ).format(table.regclass, sql.Literal(column), sql.SQL(condition))


def all_of(*facts: sql.Composable) -> sql.Composable:
    return sql.SQL("(") + sql.SQL(" AND ").join(facts) + sql.SQL(")")


def no(fact: sql.Composable) -> sql.Composable:
    return sql.SQL("NOT {}").format(fact)


def relation_exists(relation: sql.Identifier) -> sql.Composable:
    return sql.SQL("(to_regclass({}) IS NOT NULL)").format(sql.Literal(relation.as_string()))


def column_exists(table: Table, column: str) -> sql.Composable:
    return _column(table, column, "true")


def column_has_type(table: Table, column: str, type_: str) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_attribute WHERE attrelid = {} AND attname = {}"
        " AND NOT attisdropped AND format_type(atttypid, atttypmod) = {})"
    ).format(table.regclass, sql.Literal(column), sql.Literal(type_))


def column_is_not_null(table: Table, column: str) -> sql.Composable:
    """Every row has a value: from PostgreSQL 18 on, a constraint may be there and not validated."""
    return _column(
        table,
        column,
        "attnotnull AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = attrelid"
        " AND contype = 'n' AND conkey[1] = attnum AND NOT convalidated)",
    )


def column_may_be_null(table: Table, column: str) -> sql.Composable:
    """A null may be written: no constraint is there, validated or not."""
    return _column(table, column, "NOT attnotnull")


def column_has_default(table: Table, column: str) -> sql.Composable:
    return _column(table, column, "atthasdef")


def column_needs_value(table: Table, column: str) -> sql.Composable:
    """A null is refused: by NOT NULL, or by the CHECK that goes before it on older servers."""
    return sql.SQL("({} OR {})").format(
        no(column_may_be_null(table, column)),
        constraint_exists(table, check_name(table, column)),
    )


def check_name(table: Table, column: str) -> str:
    """The name of the CHECK that proves NOT NULL to servers before PostgreSQL 18."""
    return identifier(table.name, column, "present")


def constraint_exists(table: Table, name: str, *, validated: bool = False) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_constraint WHERE conrelid = {} AND conname = {}{})"
    ).format(table.regclass, sql.Literal(name), sql.SQL(" AND convalidated" if validated else ""))


def check_exists(
    table: Table, name: str, comment: str, *, validated: bool = False
) -> sql.Composable:
    """A CHECK with the comment that it got with its condition: another one loses it."""
    return sql.SQL(
        "EXISTS (SELECT FROM pg_constraint WHERE conrelid = {} AND conname = {} AND contype = 'c'"
        " AND obj_description(oid, 'pg_constraint') = {}{})"
    ).format(
        table.regclass,
        sql.Literal(name),
        sql.Literal(comment),
        sql.SQL(" AND convalidated" if validated else ""),
    )


def unique_exists(table: Table, name: str, columns: Sequence[str]) -> sql.Composable:
    """A UNIQUE constraint of these columns, in this order."""
    return sql.SQL(
        "EXISTS (SELECT FROM pg_constraint AS k WHERE conrelid = {} AND conname = {}"
        " AND contype = 'u' AND ARRAY(SELECT a.attname::text FROM unnest(k.conkey)"
        " WITH ORDINALITY AS u (n, o) JOIN pg_attribute AS a ON a.attrelid = k.conrelid"
        " AND a.attnum = u.n ORDER BY u.o) = {}::text[])"
    ).format(table.regclass, sql.Literal(name), sql.Literal(list(columns)))


def index_is_valid(schema: str, name: str) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass({}) AND indisvalid)"
    ).format(sql.Literal(sql.Identifier(schema, name).as_string()))


def is_fed(table: Table) -> sql.Composable:
    """A subscription brings rows of the table, or of a partition of it."""
    return sql.SQL(
        "EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = {table}"
        " OR srrelid IN (SELECT relid FROM pg_partition_tree({table})))"
    ).format(table=table.regclass)


def trigger_fires(table: Table, name: str) -> sql.Composable:
    """Whether a trigger is there and enabled: for the application's sessions and subscriptions."""
    return sql.SQL(
        "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {} AND tgname = {}"
        " AND (tgenabled = 'A' OR tgenabled = 'O' AND NOT {}))"
    ).format(table.regclass, sql.Literal(name), is_fed(table))


def function_has_comment(name: str, comment: str) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = {} AND p.proname = {} AND obj_description(p.oid, 'pg_proc') = {})"
    ).format(sql.Literal(SCHEMA), sql.Literal(name), sql.Literal(comment))


def function_exists(name: str) -> sql.Composable:
    return sql.SQL(
        "EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = {} AND p.proname = {})"
    ).format(sql.Literal(SCHEMA), sql.Literal(name))
