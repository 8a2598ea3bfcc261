"""What keeps a column's keys, indexes and constraints from going along with its name."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import sql

from rollout.plan.carried_objects import name_pattern, takes_type
from rollout.plan.conversions import Convert
from rollout.plan.hazards import Hazard, partitions_of
from rollout.plan.plan import Plan
from rollout.plan.recreated_views import not_created_again
from rollout.plan.removal_hazards import depends_on
from rollout.plan.table import Table, label_sql
from rollout.plan.wide_columns import WideColumn

# Each a query of what is in the way, over columns ``a`` of the table and its partitions that are
# handed on. What a partition has of its table's is told of the table alone.
_NOT_CARRIED = """
SELECT 'table ' || c.oid::regclass || ', which is a partition, or has parents or children'
  FROM pg_class AS c WHERE c.oid = {table} AND (c.relispartition OR EXISTS (SELECT FROM pg_inherits
    WHERE c.oid = inhrelid OR c.oid = inhparent AND c.relkind <> 'p'))
UNION ALL
SELECT 'column ' || {column} || ', by which table ' || a.attrelid::regclass || ' is partitioned'
  FROM a WHERE pg_get_partkeydef(a.attrelid) ~ {pattern}
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) || ', of another role'
  FROM a JOIN pg_class AS c ON c.oid = a.attrelid AND c.oid <> {table}
 WHERE NOT pg_has_role(c.relowner, 'USAGE')
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, x.indexrelid, 0) || ', which is invalid'
  FROM pg_index AS x JOIN a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
 WHERE NOT x.indisvalid
UNION ALL
SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) || ', of a partition alone, whose '
       || 'index is its table''s'
  FROM pg_constraint AS k JOIN a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
  JOIN pg_inherits AS h ON h.inhrelid = k.conindid
 WHERE k.contype IN ('p', 'u') AND k.conparentid = 0
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, x.indexrelid, 0)
       || ', by an expression, a condition or an exclusion'
  FROM pg_index AS x JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass
    AND d.objid = x.indexrelid AND d.refobjid = x.indrelid
  JOIN a ON a.attrelid = x.indrelid AND a.attnum = d.refobjsubid
 WHERE d.refclassid = 'pg_class'::regclass AND (a.attnum <> ALL (x.indkey)
   OR pg_get_expr(x.indpred, x.indrelid) ~ {pattern}
   OR pg_get_expr(x.indexprs, x.indrelid) ~ {pattern})
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
UNION ALL
SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0)
  FROM pg_constraint AS k JOIN a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
 WHERE k.conparentid = 0 AND (k.contype IN ('x', 't')
   OR (to_jsonb(k) ->> 'conperiod')::boolean OR NOT (to_jsonb(k) ->> 'conenforced')::boolean)
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, x.indexrelid, 0) || ', by its operator class'
  FROM pg_index AS x CROSS JOIN LATERAL generate_series(1, x.indnkeyatts) AS n
  JOIN a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[n - 1]
  JOIN pg_opclass AS o ON o.oid = x.indclass[n - 1]
  LEFT JOIN pg_attribute AS own ON own.attrelid = x.indexrelid AND own.attnum = n
 WHERE (own.attoptions IS NOT NULL OR NOT o.opcdefault AND NOT {takes})
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)
UNION ALL
SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) || ', by a quote in a name'
  FROM pg_constraint AS k JOIN a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
 WHERE k.contype = 'c' AND k.coninhcount = 0 AND pg_get_constraintdef(k.oid) ~ '"[^"]*''[^"]*"'
UNION ALL
SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) || CASE WHEN k.convalidated
         THEN ', between partitioned tables, before PostgreSQL 18'
         ELSE ', which is not validated' END
  FROM pg_constraint AS k JOIN a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
  JOIN pg_class AS own ON own.oid = k.conrelid JOIN pg_class AS c ON c.oid = k.confrelid
 WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relkind = 'p' AND (NOT k.convalidated
   OR own.relkind = 'p' AND current_setting('server_version_num')::integer < 180000)
UNION ALL
SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) || ', of another role''s table'
  FROM pg_constraint AS k JOIN a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
  JOIN pg_class AS c ON c.oid = k.conrelid
 WHERE k.contype = 'f' AND NOT pg_has_role(c.relowner, 'USAGE')
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) || ', of another role'
  FROM pg_attrdef AS f JOIN a ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
  JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
   AND c.relkind = 'S' AND NOT pg_has_role(c.relowner, 'USAGE')
UNION ALL
SELECT pg_describe_object('pg_statistic_ext'::regclass, s.oid, 0)
  FROM pg_statistic_ext AS s JOIN a ON a.attrelid = s.stxrelid AND a.attnum = ANY (s.stxkeys)
UNION ALL
SELECT 'column ' || attname FROM pg_attribute
 WHERE attrelid = {table} AND attname = {aside} AND NOT attisdropped"""


def carried_hazards(plan: Plan, table: Table, *, besides: Sequence[str]) -> tuple[Hazard, ...]:
    """Asked before phase 0 of each column whose objects go along with its name."""
    return tuple(
        hazard
        for t in plan.keeping_names_of(table)
        if t.carries
        for hazard in (
            _dependents(table, t.legacy[0], besides, views=not t.recreates_views),
            *((not_created_again(table, t.legacy[0]),) if t.recreates_views else ()),
            partitions_of(table),
            _not_carried(table, t),
            *((_undeclared(plan, table, t.legacy[0]),) if isinstance(t, WideColumn) else ()),
        )
    )


def _dependents(table: Table, column: str, besides: Sequence[str], *, views: bool) -> Hazard:
    name = f"{table.label}.{column}"
    return replace(
        depends_on(table, (column,), besides=besides, foreign_keys=False, views=views),
        name=f"dependents of the name {name}",
        finding=(
            f"{{count}} objects depend on {name}, whose name the new column takes: they would "
            "stay with the legacy one."
        ),
        none=f"No view, rule, policy or trigger depends on {name}.",
        advice="Drop them before phase 0, and create them again after phase 4.",
        stays=True,
    )


def _not_carried(table: Table, conversion: Convert) -> Hazard:
    (column,), (new,) = conversion.legacy, conversion.columns.values()
    aside, name = conversion.names_after_cutover[column], f"{table.label}.{column}"
    query = (
        sql.SQL(
            "WITH a AS (SELECT p.* FROM pg_attribute AS p JOIN ({relations}) AS r"
            " ON r.oid = p.attrelid WHERE p.attname = {column})"
            " SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
            "SELECT DISTINCT what FROM ({what}) AS every (what)) AS objects"
        )
    ).format(
        relations=table.relations,
        column=sql.Literal(column),
        what=sql.SQL(_NOT_CARRIED).format(
            table=table.regclass,
            column=sql.Literal(column),
            aside=sql.Literal(aside),
            pattern=name_pattern(column),
            takes=takes_type(sql.SQL("to_regtype({})").format(sql.Literal(new.type))),
        ),
    )
    return Hazard(
        name=f"objects of {name}",
        sql=query,
        finding=f"{{count}} objects cannot be built again over the new column of {name}.",
        none=f"Every key, index and constraint of {name} can be built again over the new column.",
        advice="Drop or rename them before phase 0, and create them again after phase 4.",
        stays=True,
    )


def _undeclared(plan: Plan, table: Table, column: str) -> Hazard:
    """Foreign keys to the column from columns that the plan does not widen."""
    widened = [(t.label, c) for t in plan.tables for c in plan.carried_of(t)]
    name = f"{table.label}.{column}"
    query = sql.SQL(
        "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
        "SELECT DISTINCT format('%s.%I', k.conrelid::regclass, r.attname) AS what"
        " FROM pg_constraint AS k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS u (own, other)"
        " JOIN pg_attribute AS r ON r.attrelid = k.conrelid AND r.attnum = u.own"
        " JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.other"
        # A plan names the table of a partition.
        " JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN ({relations})"
        " AND a.attname = {column}"
        " AND r.atttypid <> 'bigint'::regtype AND NOT EXISTS (SELECT"
        " FROM unnest({labels}::text[], {columns}::text[]) AS w (label, name)"
        " WHERE w.name = r.attname AND w.label = {label})) AS undeclared"
    ).format(
        label=sql.SQL(label_sql()),
        relations=table.relations,
        column=sql.Literal(column),
        labels=sql.Literal([label for label, _ in widened]),
        columns=sql.Literal([c for _, c in widened]),
    )
    return Hazard(
        name=f"references to {name}",
        sql=query,
        finding=f"{{count}} columns refer to {name} that the plan does not widen.",
        none=f"The plan widens every column that refers to {name}.",
        advice="Add each to references of the WidenKey: (table, column).",
        stays=True,
    )
