"""What partitions have of a dropped column by themselves: the rollback gives it back to them.

And the foreign keys of a partitioned table, which a server before PostgreSQL 18 adds NOT VALID to
its partitions alone: see ``foreign_keys``.
"""

from psycopg import sql

from rollout.plan.table import Table

# Of a kept foreign key, what each partition is to have of it.
_OF_PARTS = "parts"

# Rows as ``attributes`` keeps them; what is added to a table's column, its partitions get too.
_OF_PARTITIONS = """
  UNION ALL
  SELECT {stage}, 4, '', a.attrelid::regclass::text, v.statement FROM ({relations}) AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = ANY ({columns})
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    CROSS JOIN LATERAL (VALUES
      (format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s, ALTER COLUMN %I %s',
         r.oid::regclass, a.attname, coalesce(a.attstattarget, -1), a.attname,
         coalesce('SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), 'DROP DEFAULT'))),
      (CASE WHEN a.attoptions <> '{{}}' THEN format('ALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)',
         r.oid::regclass, a.attname, array_to_string(a.attoptions, ', ')) END),
      (CASE WHEN col_description(a.attrelid, a.attnum) IS NOT NULL THEN
         format('COMMENT ON COLUMN %s.%I IS %L', r.oid::regclass, a.attname,
           col_description(a.attrelid, a.attnum)) END)) AS v (statement)
   WHERE r.oid <> {table}
  UNION ALL
  SELECT {stage}, 5, '', a.attrelid::regclass::text, format('GRANT %s (%I) ON TABLE %s TO %s%s',
         g.privilege_type, a.attname, r.oid::regclass,
         CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
         CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM ({relations}) AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
      AND a.attname = ANY ({columns})
    CROSS JOIN LATERAL aclexplode(a.attacl) AS g
   WHERE r.oid <> {table}
  UNION ALL
  SELECT {short}, 6, {parts}, conname, format('ADD CONSTRAINT %I %s', conname, def)
    FROM con WHERE {by_parts}
  UNION ALL
  SELECT {last}, 6, 'constraint', conname, format('ALTER TABLE %s ADD CONSTRAINT %I %s', {label},
         conname, def) || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', conname,
           {label}, obj_description(con.oid, 'pg_constraint')), '')
    FROM con WHERE {by_parts}"""
_KEYS_LEFT = """
  UNION ALL
  SELECT k.position, 1, CASE WHEN {validating}
         THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.oid::regclass, k.object)
         ELSE format('ALTER TABLE %s %s NOT VALID', c.oid::regclass, k.statement) END
    FROM {kept} AS k CROSS JOIN pg_partition_tree({table}) AS p
    JOIN pg_class AS c ON c.oid = p.relid AND c.relkind = 'r'
    LEFT JOIN pg_constraint AS f ON f.conrelid = c.oid AND f.conname = k.object
   WHERE {own} AND k.kind = {parts} AND CASE WHEN {validating} THEN NOT f.convalidated
     ELSE f.oid IS NULL END"""
# One that was dropped or detached since gets nothing.
_ARE_THERE = (
    " AND (object = '' OR to_regclass(object) IN (SELECT relid FROM pg_partition_tree({})))"
)


def is_added_by_parts(table: Table) -> sql.Composable:
    """SQL condition: constraint ``con`` comes to the table's partitions first, then to itself."""
    if not table.partitioned:
        return sql.SQL("false")
    return sql.SQL("(contype = 'f' AND current_setting('server_version_num')::integer < 180000)")


def keys_left(
    table: Table, *, kept: sql.Composable, own: sql.Composable, validating: bool | None
) -> sql.Composable:
    """More rows of statements that are left: those that add partitions' keys, or validate them."""
    if not table.partitioned or validating is None:
        return sql.SQL("")
    return sql.SQL(_KEYS_LEFT).format(
        kept=kept,
        own=own,
        table=table.regclass,
        parts=sql.Literal(_OF_PARTS),
        validating=sql.Literal(validating),
    )


def of_partitions(
    table: Table, columns: sql.Composable, *, stages: tuple[int, int, int]
) -> sql.Composable:
    """More rows of what is kept, in the stages of columns, of short statements and of the last;
    for a table without partitions none."""
    if not table.partitioned:
        return sql.SQL("")
    stage, short, last = map(sql.Literal, stages)
    return sql.SQL(_OF_PARTITIONS).format(
        stage=stage,
        short=short,
        last=last,
        parts=sql.Literal(_OF_PARTS),
        by_parts=is_added_by_parts(table),
        label=sql.Literal(table.identifier.as_string()),
        table=table.regclass,
        relations=table.relations,
        columns=columns,
    )


def are_there(table: Table) -> sql.Composable:
    """SQL that adds to a condition on what is kept: it is of a partition that is there."""
    if not table.partitioned:
        return sql.SQL("")
    return sql.SQL(_ARE_THERE).format(table.regclass)
