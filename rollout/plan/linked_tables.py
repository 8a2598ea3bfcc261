"""Tables that a statement locks besides its own, because foreign keys connect them."""

from collections.abc import Iterable

from psycopg import sql

from rollout.plan.actions import LockMode
from rollout.plan.attributes import ATTRIBUTES_TABLE, of_table
from rollout.plan.table import Table

# A foreign key may be one of a partition alone, or refer to one. What is of the server's own making
# has a parent.
_LINKED = """
SELECT DISTINCT n.mode, n.relation FROM pg_constraint AS k CROSS JOIN LATERAL (VALUES
    (k.conrelid, k.conkey, k.confrelid, {referenced}),
    (k.confrelid, k.confkey, k.conrelid, {referring})) AS n (own, columns, relation, mode)
 WHERE k.contype = 'f' AND k.conparentid = 0 AND n.own IN ({relations})
   AND n.relation NOT IN ({relations}) AND EXISTS (SELECT FROM pg_attribute AS a
     WHERE a.attrelid = n.own AND a.attnum = ANY (n.columns)
       AND a.attname = ANY ({columns}::text[]))"""
_NAME = '(?:"(?:[^"]|"")+"|[^". (]+)'
# As PostgreSQL prints a foreign key, with the schema.
_REFERENCED = f" FOREIGN KEY .* REFERENCES ({_NAME}[.]{_NAME})"
_KEPT = """
SELECT {mode} AS mode, to_regclass(substring(statement FROM {referenced}))::oid AS relation
  FROM {kept} WHERE {own} AND kind = 'constraint'"""


def linked(
    table: Table, columns: Iterable[str], mode: LockMode, *, referring: LockMode | None = None
) -> sql.Composed:
    """A query of modes and tables: what foreign keys over the columns refer to, and what refers
    to the columns by such keys, where it is locked in another mode if ``referring`` says so."""
    return sql.SQL(_LINKED).format(
        relations=table.relations,
        columns=sql.Literal(list(columns)),
        referenced=sql.Literal(mode.value),
        referring=sql.Literal((referring or mode).value),
    )


def linked_again(plan: str, table: Table, mode: LockMode) -> sql.Composed:
    """The same of the foreign keys that dropped columns had: the rollback creates them again."""
    return sql.SQL(_KEPT).format(
        mode=sql.Literal(mode.value),
        referenced=sql.Literal(_REFERENCED),
        kept=ATTRIBUTES_TABLE,
        own=of_table(plan, table),
    )
