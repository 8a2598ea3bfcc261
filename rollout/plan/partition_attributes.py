"""What partitions have of a dropped column by themselves: the rollback gives it back to them."""

from psycopg import sql

from rollout.plan.table import Table

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
   WHERE r.oid <> {table}"""
# One that was dropped or detached since gets nothing.
_ARE_THERE = (
    " AND (object = '' OR to_regclass(object) IN (SELECT relid FROM pg_partition_tree({})))"
)


def of_partitions(table: Table, columns: sql.Composable, stage: int) -> sql.Composable:
    """More rows of what is kept; for a table without partitions none."""
    if not table.partitioned:
        return sql.SQL("")
    return sql.SQL(_OF_PARTITIONS).format(
        stage=sql.Literal(stage),
        table=table.regclass,
        relations=table.relations,
        columns=columns,
    )


def are_there(table: Table) -> sql.Composable:
    """SQL that adds to a condition on what is kept: it is of a partition that is there."""
    if not table.partitioned:
        return sql.SQL("")
    return sql.SQL(_ARE_THERE).format(table.regclass)
