"""Kinds of tables and of columns that a later step could not take, found before the first."""

from psycopg import errors, sql

from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection
from rollout.plan.dual_write_functions import is_compared_as_text
from rollout.plan.names import code
from rollout.plan.table import Table
from rollout.plan.translations import Computed, Lookup

_TABLES = """
  FROM unnest(%(names)s::text[]) WITH ORDINALITY AS n (name, place)
  JOIN pg_class AS c ON c.oid = to_regclass(n.name)
"""


def _names(scope: Scope) -> list[str]:
    return [table.identifier.as_string() for table in scope.plan.tables]


def kinds_of_tables(connection: Connection, scope: Scope) -> Item:
    """Tables that columns cannot be added to, or whose rows are other tables' too."""
    name = "kinds of tables"
    inherited = rows(
        connection,
        f"""
        SELECT c.oid::regclass::text, string_agg(h.inhrelid::regclass::text, ', ' ORDER BY 1),
               bool_or(k.relnamespace::regnamespace::text LIKE '\\_timescaledb%%')
          {_TABLES}
          JOIN pg_inherits AS h ON h.inhparent = c.oid JOIN pg_class AS k ON k.oid = h.inhrelid
         WHERE c.relkind <> 'p' GROUP BY c.oid ORDER BY 1
        """,
        names=_names(scope),
    )
    problems = [
        f"{table} is a TimescaleDB hypertable: triggers and keys of the plan may not reach its "
        "chunks."
        if is_hypertable
        else f"{table} has inheritance children ({children}), which triggers and keys do not reach."
        for table, children, is_hypertable in inherited
    ]
    others = rows(
        connection,
        f"""
        SELECT c.oid::regclass::text, c.relkind::text, c.relispartition, c.reloftype::regtype::text,
               h.inhparent::regclass::text
          {_TABLES} LEFT JOIN pg_inherits AS h ON h.inhrelid = c.oid
         WHERE c.relkind NOT IN ('r', 'p') OR c.reloftype <> 0 OR h.inhparent IS NOT NULL
         ORDER BY n.place
        """,
        names=_names(scope),
    )
    for table, kind, is_partition, of_type, parent in others:
        if is_partition:
            problems.append(
                f"{table} is a partition of {parent}; columns can only be added to {parent}."
            )
        elif parent is not None:
            problems.append(
                f"{table} inherits from {parent}, so an inherited column cannot be dropped."
            )
        elif of_type != "-":
            problems.append(f"{table} is a table of type {of_type}, so columns cannot be added.")
        else:
            what = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}.get(kind)
            problems.append(f"{table} is {what or 'no table'} and has no rows of its own.")
    if not problems:
        return Item(name, "pass", f"All tables are plain or partitioned: {scope.tables}.")
    return Item(
        name,
        "blocks",
        " ".join(problems),
        "Name a plain or a partitioned table in the plan: turn the children into partitions or "
        "separate tables, or plan for the table that has the rows.",
    )


def rules(connection: Connection, scope: Scope) -> Item:
    """Rules that rewrite INSERT or UPDATE: batches of a backfill are not for them to rewrite."""
    name = "rules"
    rewrite_rules = rows(
        connection,
        """
        SELECT w.rulename::text, w.ev_class::regclass::text,
               CASE w.ev_type WHEN '2' THEN 'UPDATE' ELSE 'INSERT' END
          FROM pg_rewrite AS w
         WHERE w.ev_class = ANY (%(oids)s::oid[]) AND w.ev_type IN ('2', '3')
           AND w.ev_enabled <> 'D'
         ORDER BY 2, 1
        """,
        oids=scope.oids,
    )
    if not rewrite_rules:
        return Item(name, "pass", f"No rule rewrites INSERT or UPDATE of {scope.tables}.")
    return Item(
        name,
        "blocks",
        "; ".join(f"{rule} on {event} of {table}" for rule, table, event in rewrite_rules)
        + ": PostgreSQL rejects the rollout's statements there, or the rule rewrites them.",
        "Replace each with a trigger, or drop it with DROP RULE.",
    )


def collations(connection: Connection, scope: Scope) -> Item:
    """Columns whose texts compare equal though they differ: a lookup tells texts apart."""
    name = "collations"
    columns = [(t.table, t.legacy) for t in scope.plan.translations if isinstance(t, Lookup)]
    loose = rows(
        connection,
        """
        SELECT a.attrelid::regclass::text || '.' || a.attname, k.oid::regcollation::text
          FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS n (name, column_name)
          JOIN pg_attribute AS a ON a.attrelid = to_regclass(n.name) AND a.attname = n.column_name
          JOIN pg_collation AS k ON k.oid = a.attcollation
         WHERE NOT k.collisdeterministic ORDER BY 1
        """,
        tables=[table.identifier.as_string() for table, _ in columns],
        columns=[column for _, column in columns],
    )
    if not loose:
        return Item(name, "pass", "Every mapped column has a deterministic collation.")
    return Item(
        name,
        "blocks",
        "; ".join(f"{column} has the collation {rule}" for column, rule in loose)
        + ", which is nondeterministic: different values compare as equal.",
        "Give the column a deterministic collation in a migration first: ALTER COLUMN … TYPE text "
        'COLLATE "default" rewrites no row (it rebuilds indexes).',
    )


def text_types(connection: Connection, scope: Scope) -> Item:
    """Legacy columns of lookups whose type holds no texts, pads them, or says more than they."""
    name = "types of legacy columns"
    columns = [(x.table, x.legacy) for x in scope.plan.lookups]
    legacy_columns = rows(
        connection,
        """
        WITH RECURSIVE of AS (
          SELECT a.attrelid::regclass::text || '.' || a.attname AS label, a.atttypid AS type,
                 format_type(a.atttypid, a.atttypmod) AS named, a.atthasdef AS has_default,
                 false AS refuses_null, NULL::text COLLATE "C" AS given
            FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS n (name, column_name)
            JOIN pg_attribute AS a ON a.attrelid = to_regclass(n.name)
             AND a.attname = n.column_name
          UNION ALL
          SELECT label, y.typbasetype, named, has_default, refuses_null OR y.typnotnull,
                 coalesce(given, y.typdefault)
            FROM of JOIN pg_type AS y ON y.oid = of.type WHERE y.typtype = 'd'
        )
        SELECT label, named, refuses_null, CASE WHEN NOT has_default THEN given END,
               y.typcategory NOT IN ('S', 'E'),
               y.typname IN ('bpchar', 'name', 'char')
          FROM of JOIN pg_type AS y ON y.oid = of.type
         WHERE y.typtype <> 'd' ORDER BY 1
        """,
        tables=[table.identifier.as_string() for table, _ in columns],
        columns=[column for _, column in columns],
    )
    problems = []
    for label, type_, refuses_null, default, holds_no_texts, pads in legacy_columns:
        if holds_no_texts:
            problems.append(
                f"{label} is {type_}, not a text type. Derive the new column from it with Derived."
            )
        elif pads:
            problems.append(
                f"{label} is {type_}, which pads or truncates text. Change it to text in a "
                "migration first."
            )
        elif refuses_null:
            problems.append(
                f"{label} is {type_}, a domain that rejects NULL, so a rollback of phase 4 could "
                f"not add the column again. Run ALTER DOMAIN {type_} DROP NOT NULL, and SET NOT "
                "NULL on the column instead."
            )
        elif default is not None:
            problems.append(
                f"{label} has the default of its domain {type_}, which the new column cannot take "
                f"on. SET DEFAULT {default} on the column itself."
            )
    if not problems:
        return Item(name, "pass", "The legacy columns of lookups have text types.")
    return Item(name, "blocks", " ".join(problems), "")


def comparisons(connection: Connection, scope: Scope) -> Item:
    """Columns whose type has no equality: whether one changed could not be asked."""
    name = "types without equality"
    types: dict[str, str] = {}
    for t in scope.plan.translations:
        if isinstance(t, Lookup):
            continue
        written = t.columns if isinstance(t, Computed) else t.added
        types |= {f"{t.table.label}.{column}": of.type for column, of in written.items()}
        types |= {
            f"{t.table.label}.{column}": of
            for column in t.reads
            if not is_compared_as_text(of := _type(t.table, column))
        }
    without = {type_ for type_ in set(types.values()) if not _has_equality(connection, type_)}
    incomparable = [(label, type_) for label, type_ in sorted(types.items()) if type_ in without]
    if not incomparable:
        return Item(name, "pass", "Every compared column has a type with equality.")
    return Item(
        name,
        "blocks",
        "; ".join(f"{label} is {type_}" for label, type_ in incomparable)
        + ": values of these types cannot be compared.",
        "Make the new column jsonb or text, and derive it from a column that can be compared.",
    )


def _has_equality(connection: Connection, type_: str) -> bool:
    null = sql.SQL("NULL::{}").format(code(type_.removesuffix("[]")))
    try:
        with connection.transaction():
            connection.execute(sql.SQL("SELECT {0} IS DISTINCT FROM {0}").format(null))
    except errors.UndefinedFunction:
        return False
    except errors.UndefinedObject:
        return True  # That there is no such type, other questions tell.
    return True


def _type(table: Table, column: str) -> str:
    return table.columns[column].type if column in table.columns else "text"
