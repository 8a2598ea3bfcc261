"""Views over columns whose names go to others: dropped before, and created again after.

A view is bound to a column and not to its name. So the transaction that hands the names on drops it
with all views over it, and creates each again from its definition, with its owner, options,
defaults, rights and comments.
"""

from psycopg import sql

from rollout.plan.hazards import Hazard
from rollout.plan.table import Table

# Views of columns ``moved``, and views over those, by how many lie below each.
VIEWS = """, needed (view, depth) AS (
  SELECT r.ev_class, 1 FROM moved AS m JOIN pg_depend AS d ON d.refobjid = m.relation
      AND d.refobjsubid = m.src
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> m.relation
   WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  UNION
  SELECT r.ev_class, n.depth + 1 FROM needed AS n JOIN pg_depend AS d
      ON d.refclassid = 'pg_class'::regclass AND d.refobjid = n.view
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
   WHERE r.ev_class <> n.view
), views AS (
  SELECT c.*, n.depth, format('%I.%I', s.nspname, c.relname) AS label
    FROM (SELECT view, max(depth) AS depth FROM needed GROUP BY view) AS n
    JOIN pg_class AS c ON c.oid = n.view JOIN pg_namespace AS s ON s.oid = c.relnamespace
)"""
# Who reads a view locks it before its tables. A statement that changes nothing locks it alone.
LOCKS = """SELECT format('ALTER VIEW %s OWNER TO %I', label, pg_get_userbyid(relowner)), 0,
  -depth::bigint FROM views"""
_GRANTEE = "CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END"
_TO = f"{_GRANTEE} || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
STATEMENTS = """SELECT 0, -depth::bigint, format('DROP VIEW %s', label) FROM views
  UNION ALL
  SELECT 12, depth, format('CREATE VIEW %s (%s)%s AS %s', label,
         (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
           WHERE attrelid = v.oid AND attnum > 0), ' WITH (' || array_to_string(reloptions, ', ')
         || ')', rtrim(pg_get_viewdef(v.oid), ';'))
    FROM views AS v
  UNION ALL
  SELECT 13, depth, format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', label, a.attname,
         pg_get_expr(d.adbin, d.adrelid))
    FROM views AS v JOIN pg_attrdef AS d ON d.adrelid = v.oid
    JOIN pg_attribute AS a ON a.attrelid = v.oid AND a.attnum = d.adnum
  UNION ALL
  SELECT DISTINCT 13, depth, format('REVOKE ALL ON %s FROM %s', label, {grantee})
    FROM views AS v JOIN pg_roles AS own ON own.rolname = current_user
    JOIN pg_default_acl AS d ON d.defaclrole = own.oid AND d.defaclobjtype = 'r'
     AND d.defaclnamespace IN (0, v.relnamespace)
    CROSS JOIN LATERAL aclexplode(d.defaclacl) AS g WHERE g.grantee <> own.oid
  UNION ALL
  SELECT 14, depth, format('ALTER VIEW %s OWNER TO %I', label, pg_get_userbyid(relowner))
    FROM views
  UNION ALL
  SELECT 15, depth, format('GRANT %s ON %s TO %s', g.privilege_type, label, {to})
    FROM views AS v CROSS JOIN LATERAL aclexplode(v.relacl) AS g WHERE g.grantee <> v.relowner
  UNION ALL
  SELECT 15, depth, format('GRANT %s (%I) ON %s TO %s', g.privilege_type, a.attname, label, {to})
    FROM views AS v JOIN pg_attribute AS a ON a.attrelid = v.oid
    CROSS JOIN LATERAL aclexplode(a.attacl) AS g WHERE g.grantee <> v.relowner
  UNION ALL
  SELECT 15, depth, format('COMMENT ON %s %s IS %L',
         CASE a.attnum WHEN 0 THEN 'VIEW' ELSE 'COLUMN' END,
         label || coalesce('.' || quote_ident(t.attname), ''), a.description)
    FROM views AS v JOIN LATERAL (SELECT objsubid AS attnum, description FROM pg_description
      WHERE classoid = 'pg_class'::regclass AND objoid = v.oid) AS a ON true
    LEFT JOIN pg_attribute AS t ON t.attrelid = v.oid AND t.attnum = a.attnum AND a.attnum > 0
""".replace("{to}", _TO).replace("{grantee}", _GRANTEE)

# What keeps one of these views from being created again.
_NOT_CREATED_AGAIN = (
    """WITH RECURSIVE moved AS (
  SELECT attrelid AS relation, attnum AS src FROM pg_attribute
   WHERE attrelid IN ({relations}) AND attname = {column}
){views} SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM (
SELECT pg_describe_object('pg_class'::regclass, oid, 0) AS what FROM views WHERE relkind <> 'v'
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, oid, 0) || ', which has triggers or rules'
  FROM views AS v WHERE EXISTS (SELECT FROM pg_trigger WHERE tgrelid = v.oid)
     OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = v.oid AND rulename <> '_RETURN')
UNION ALL
SELECT pg_describe_object('pg_class'::regclass, oid, 0) || ', of another role'
  FROM views WHERE NOT EXISTS (SELECT FROM pg_roles AS own
    WHERE own.rolname = current_user AND (own.oid = relowner OR own.rolsuper))
UNION ALL
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) || ', by '
       || pg_describe_object('pg_class'::regclass, v.oid, 0)
  FROM views AS v JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
    OR d.refclassid = 'pg_type'::regclass AND d.refobjid = v.reltype
 WHERE d.deptype = 'n' AND d.classid <> 'pg_rewrite'::regclass) AS objects"""
).replace("{views}", VIEWS)


def not_created_again(table: Table, column: str) -> Hazard:
    """Views over the column that cannot be created again."""
    name = f"{table.label}.{column}"
    return Hazard(
        name=f"views of {name}",
        sql=sql.SQL(_NOT_CREATED_AGAIN).format(
            relations=table.relations, column=sql.Literal(column)
        ),
        finding=f"{{count}} objects keep views over {name} from being created again.",
        none=f"Every view over {name} can be created again.",
        advice="Drop them before phase 0, and create them again after phase 4.",
        stays=True,
    )
