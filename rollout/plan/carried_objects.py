"""What is bound to a column and goes along when another one takes its name.

Keys, indexes, CHECKs, foreign keys in both directions, sequences, identities and defaults. Each
index and constraint gets a twin over the other column, built and validated while writers continue.
In the transaction that hands the names on (``swaps``), the twin replaces its original and takes its
name. The way back builds twins over the legacy column. A twin is called after its original's OID.
"""

from collections.abc import Iterable, Mapping

from psycopg import sql

from rollout.plan.actions import Action, Lock, LockMode, Statement
from rollout.plan.linked_tables import linked
from rollout.plan.names import TWIN, code
from rollout.plan.table import Table

# As the names of twins, and of half-built ones.
_BROKEN_TWIN = "^rollout_[0-9]+(_ccnew[0-9]*)?$"

# The columns whose objects go to others. Empty where these are not there.
MOVED = """
moved AS (
  SELECT s.attnum AS src, s.attname AS name, quote_ident(d.attname) AS dst, s.attidentity,
         d.atttypid AS type
    FROM unnest({sources}::text[], {targets}::text[]) AS n (src, dst)
    JOIN pg_attribute AS s ON s.attrelid = {table} AND s.attname = n.src AND NOT s.attisdropped
    JOIN pg_attribute AS d ON d.attrelid = {table} AND d.attname = n.dst AND NOT d.attisdropped
)"""
OBJECTS = ", ".join(
    (
        MOVED,
        """indexes AS (
  SELECT x.indexrelid, i.relname, i.relnamespace, x.indisclustered, x.indisreplident,
         format('rollout_%s', x.indexrelid) AS twin, k.oid AS constraint_oid,
         CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END AS kind,
         CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
           || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS deferrable,
         format('CREATE %sINDEX CONCURRENTLY %I ON %s USING %I (%s)%s%s%s%s%s',
           CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END,
           format('rollout_%s', x.indexrelid), {label}, am.amname, c.keys,
           ' INCLUDE (' || c.included || ')',
           CASE WHEN (to_jsonb(x) ->> 'indnullsnotdistinct')::boolean
             THEN ' NULLS NOT DISTINCT' ELSE '' END,
           ' WITH (' || array_to_string(i.reloptions, ', ') || ')',
           (SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace
             WHERE oid = i.reltablespace),
           ' WHERE ' || pg_get_expr(x.indpred, x.indrelid)) AS definition
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_am AS am ON am.oid = i.relam
    LEFT JOIN pg_constraint AS k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid
      AND k.contype IN ('p', 'u')
    CROSS JOIN LATERAL (
      SELECT string_agg(p.name || p.more, ', ' ORDER BY p.n) FILTER (WHERE p.n <= x.indnkeyatts)
               AS keys,
             string_agg(p.name, ', ' ORDER BY p.n) FILTER (WHERE p.n > x.indnkeyatts) AS included
        FROM (SELECT n, coalesce(m.dst, pg_get_indexdef(x.indexrelid, n, false)) AS name,
                     coalesce((SELECT format(' COLLATE %I.%I', s.nspname, l.collname)
                        FROM pg_collation AS l JOIN pg_namespace AS s ON s.oid = l.collnamespace
                       WHERE l.oid = x.indcollation[n - 1]), '')
                     -- A column of another type may have an operator class of its own.
                     || coalesce((SELECT format(' %I.%I', s.nspname, o.opcname)
                          FROM pg_opclass AS o JOIN pg_namespace AS s ON s.oid = o.opcnamespace
                         WHERE o.oid = x.indclass[n - 1] AND (m.src IS NULL OR {takes})), '')
                     || CASE WHEN pg_indexam_has_property(am.oid, 'can_order') THEN
                          CASE WHEN x.indoption[n - 1] & 1 = 1 THEN ' DESC' ELSE ' ASC' END
                          || CASE WHEN x.indoption[n - 1] & 2 = 2 THEN ' NULLS FIRST'
                             ELSE ' NULLS LAST' END
                        ELSE '' END AS more
                FROM generate_series(1, x.indnatts) AS n
                LEFT JOIN moved AS m ON m.src = x.indkey[n - 1]) AS p) AS c
   WHERE x.indrelid = {table} AND x.indisvalid AND i.relname !~ {twins}
     AND EXISTS (SELECT FROM moved AS m WHERE m.src = ANY (x.indkey))
), rules AS (
  SELECT k.oid, k.conname, k.conrelid, k.confrelid, k.conrelid::regclass AS relation,
         format('rollout_%s', k.oid) AS twin, k.convalidated, CASE k.contype
           WHEN 'c' THEN regexp_replace(c.definition, ' NOT VALID$', '')
           ELSE format('FOREIGN KEY (%s) REFERENCES %s (%s)%s%s%s%s%s%s', f.own,
             k.confrelid::regclass, f.other,
             CASE k.confmatchtype WHEN 'f' THEN ' MATCH FULL' ELSE '' END,
             ' ON UPDATE ' || (a.texts ->> k.confupdtype::text),
             ' ON DELETE ' || (a.texts ->> k.confdeltype::text), ' (' || f.emptied || ')',
             CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END,
             CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) END AS definition
    FROM pg_constraint AS k
    CROSS JOIN (SELECT '{{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL",
      "d": "SET DEFAULT"}}'::jsonb) AS a (texts)
    CROSS JOIN LATERAL (SELECT {check}) AS c (definition)
    CROSS JOIN LATERAL (
      SELECT string_agg(o.name, ', ' ORDER BY o.n) AS own, string_agg(r.name, ', ' ORDER BY o.n)
               AS other, string_agg(o.name, ', ' ORDER BY o.n) FILTER (WHERE o.attnum IN (
                 SELECT e.n::smallint FROM jsonb_array_elements_text(
                   nullif(to_jsonb(k) -> 'confdelsetcols', 'null')) AS e (n))) AS emptied
        FROM (SELECT u.n, a.attnum, coalesce(m.dst, quote_ident(a.attname)) AS name
                FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, n)
                JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
                LEFT JOIN moved AS m ON m.src = u.attnum AND k.conrelid = {table}) AS o
        JOIN (SELECT u.n, coalesce(m.dst, quote_ident(a.attname)) AS name
                FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, n)
                JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
                LEFT JOIN moved AS m ON m.src = u.attnum AND k.confrelid = {table}) AS r
          ON r.n = o.n) AS f
   WHERE k.contype IN ('c', 'f') AND k.conname !~ {twins} AND EXISTS (SELECT FROM moved AS m
     WHERE k.conrelid = {table} AND m.src = ANY (k.conkey)
        OR k.confrelid = {table} AND m.src = ANY (k.confkey))
)""",
    )
)

_MISSING_INDEXES = """
SELECT definition FROM indexes AS x WHERE NOT EXISTS (
  SELECT FROM pg_class AS t JOIN pg_index AS y ON y.indexrelid = t.oid AND y.indisvalid
   WHERE t.relname = x.twin AND t.relnamespace = x.relnamespace) ORDER BY indexrelid"""
# While it has one table and waits for the other, it gives way after a moment.
_MISSING_RULES = """
SELECT CASE WHEN confrelid IN (0, conrelid) THEN '' ELSE
         format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = ''20ms''; ',
                confrelid::regclass) END
       || format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', relation, twin, definition)
  FROM rules AS k WHERE NOT EXISTS (SELECT FROM pg_constraint AS t
   WHERE t.conrelid = k.relation AND t.conname = k.twin) ORDER BY oid"""
_UNVALIDATED = """
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', relation, twin)
  FROM rules AS k WHERE convalidated AND EXISTS (SELECT FROM pg_constraint AS t
   WHERE t.conrelid = k.relation AND t.conname = k.twin AND NOT t.convalidated) ORDER BY oid"""
_BROKEN = """
SELECT format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass) FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid = {table} AND NOT x.indisvalid AND i.relname ~ {twins}"""
_LEFT_RULES = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
  FROM pg_constraint WHERE contype IN ('c', 'f') AND conname ~ {twins}
   AND {table} IN (conrelid, confrelid)"""
_LEFT_INDEXES = """
SELECT format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass) FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid = {table} AND i.relname ~ {twins}"""

# How each twin takes its original's place: statements in their order. A foreign key of another
# table goes before the key that it refers to; what a table has goes and comes in one statement.
CHANGES = """, subcommands (relation, place, number, ddl) AS (
  SELECT relation, 1, oid::bigint, format('DROP CONSTRAINT %I', conname) FROM rules
  UNION ALL
  SELECT {table}, 2, indexrelid::bigint, format('DROP CONSTRAINT %I', relname)
    FROM indexes WHERE constraint_oid IS NOT NULL
  UNION ALL
  SELECT {table}, 3, indexrelid::bigint, format('ADD CONSTRAINT %I %s USING INDEX %I%s', relname,
         x.kind, x.twin, x.deferrable)
    FROM indexes AS x WHERE constraint_oid IS NOT NULL
  UNION ALL
  SELECT {table}, 4, indexrelid::bigint, format(c.change,
         CASE WHEN constraint_oid IS NULL THEN twin ELSE relname END)
    FROM indexes CROSS JOIN LATERAL (VALUES (CASE WHEN indisclustered THEN 'CLUSTER ON %I' END),
      (CASE WHEN indisreplident THEN 'REPLICA IDENTITY USING INDEX %I' END)) AS c (change)
   WHERE c.change IS NOT NULL
  UNION ALL
  SELECT {table}, 5, m.src, format('ALTER COLUMN %s SET DEFAULT %s, ALTER COLUMN %I DROP DEFAULT',
         m.dst, pg_get_expr(d.adbin, d.adrelid), m.name)
    FROM moved AS m JOIN pg_attrdef AS d ON d.adrelid = {table} AND d.adnum = m.src
), changes (place, number, ddl) AS (
  SELECT CASE relation WHEN {table} THEN 2 ELSE 1 END, relation::oid::bigint,
         format('ALTER TABLE %s %s', relation, string_agg(ddl, ', ' ORDER BY place, number))
    FROM subcommands GROUP BY relation
  UNION ALL
  SELECT 3, 0, 'DROP INDEX ' || string_agg(format('%s.%I', relnamespace::regnamespace, relname),
         ', ')
    FROM indexes WHERE constraint_oid IS NULL HAVING count(*) > 0
  UNION ALL
  SELECT 4, indexrelid::bigint, format('ALTER INDEX %s.%I RENAME TO %I',
         relnamespace::regnamespace, twin, relname)
    FROM indexes WHERE constraint_oid IS NULL
  UNION ALL
  SELECT 4, oid::bigint, format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', relation, twin,
         conname)
    FROM rules
  UNION ALL
  SELECT 5, oid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, relation,
         obj_description(oid, 'pg_constraint'))
    FROM rules WHERE obj_description(oid, 'pg_constraint') IS NOT NULL
  UNION ALL
  SELECT 5, indexrelid::bigint, format('COMMENT ON INDEX %s.%I IS %L', relnamespace::regnamespace,
         relname, obj_description(indexrelid, 'pg_class'))
    FROM indexes WHERE obj_description(indexrelid, 'pg_class') IS NOT NULL
  UNION ALL
  SELECT 5, indexrelid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', relname, {label},
         obj_description(constraint_oid, 'pg_constraint'))
    FROM indexes WHERE obj_description(constraint_oid, 'pg_constraint') IS NOT NULL
)"""
# Whether a twin is missing: somebody made another index or constraint since the twins were built.
UNBUILT = " OR ".join(
    f"EXISTS ({query})" for query in (_MISSING_INDEXES, _MISSING_RULES, _UNVALIDATED)
)
# Statements that lock the tables, in their order. What is referred to is first, as it is for an
# application that writes a row and then those that refer to it.
LOCKED = """SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', {table}), 2, 0::bigint"""
LOCKED_WITH_RULES = """SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', t.oid::regclass),
  min(t.place), t.oid::bigint FROM (SELECT confrelid, 1 FROM rules
    UNION ALL SELECT conrelid, 2 FROM rules UNION ALL SELECT {table}, 2) AS t (oid, place)
 WHERE t.oid <> 0 GROUP BY t.oid"""


def twins(table: Table, moved: Mapping[str, str]) -> tuple[Action, ...]:
    """Build and validate a twin of each index and constraint; ``moved`` gives the column of the
    twin by that of the original. Where that column is missing, there is nothing to build.
    """
    building = (Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),)
    rules = (Lock(LockMode.SHARE_ROW_EXCLUSIVE, table.label),)
    made = linked(table, moved, LockMode.SHARE_ROW_EXCLUSIVE)
    # Of a foreign key the table that has it is scanned.
    validated = linked(table, moved, LockMode.ROW_SHARE, referring=LockMode.SHARE_UPDATE_EXCLUSIVE)
    broken = _of_table(_BROKEN, table, _BROKEN_TWIN)
    missing, unruled, unvalidated = (
        _query(table, moved, query) for query in (_MISSING_INDEXES, _MISSING_RULES, _UNVALIDATED)
    )
    return (
        _generated(broken, building, long=True),
        _generated(missing, building, long=True, scans=2),
        _generated(unruled, rules, links=(made,)),
        _generated(unvalidated, building, long=True, scans=1, links=(validated,)),
    )


def drop_twins(table: Table, columns: Iterable[str]) -> tuple[Action, ...]:
    """Drop the twins over the columns that never replaced their originals."""
    return (
        _generated(
            _of_table(_LEFT_RULES, table, TWIN),
            _exclusive(table),
            links=(linked(table, columns, LockMode.ACCESS_EXCLUSIVE),),
        ),
        _generated(
            _of_table(_LEFT_INDEXES, table, _BROKEN_TWIN),
            (Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),),
            long=True,
        ),
    )


def drop_twins_at_once(table: Table) -> sql.Composed:
    """SQL that drops such twins in the transaction that drops their columns."""
    body = sql.SQL(
        "DECLARE change text;\nBEGIN\n  FOR change IN {} LOOP EXECUTE change; END LOOP;\n"
        "  FOR change IN {} LOOP EXECUTE change; END LOOP;\nEND"
    ).format(
        _of_table(_LEFT_RULES, table, TWIN),
        _of_table(_LEFT_INDEXES.replace(" CONCURRENTLY", ""), table, _BROKEN_TWIN),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def _generated(
    query: sql.Composed,
    locks: tuple[Lock, ...],
    *,
    long: bool = False,
    scans: int = 0,
    links: tuple[sql.Composed, ...] = (),
) -> Statement:
    """The statements that a query gives, until it gives none."""
    return Statement(
        sql=query,
        done=sql.SQL("NOT EXISTS ({})").format(query),
        locks=locks,
        long=long,
        scans=scans,
        generates=True,
        links=links,
    )


def _exclusive(table: Table) -> tuple[Lock, ...]:
    return (Lock(LockMode.ACCESS_EXCLUSIVE, table.label),)


def _of_table(query: str, table: Table, twin: str) -> sql.Composed:
    return code(query).format(table=table.regclass, twins=sql.Literal(twin))


def _query(table: Table, moved: Mapping[str, str], query: str) -> sql.Composed:
    return over_objects(f"WITH {OBJECTS} {query}", table, moved)


def over_objects(text: str, table: Table, moved: Mapping[str, str]) -> sql.Composed:
    """A part of a query over the objects of ``moved`` columns, which ``OBJECTS`` begins."""
    return code(text).format(
        table=table.regclass,
        label=sql.Literal(table.identifier.as_string()),
        sources=sql.Literal(list(moved)),
        targets=sql.Literal(list(moved.values())),
        twins=sql.Literal(TWIN),
        check=check_over(moved),
        takes=takes_type(sql.SQL("m.type")),
    )


def check_over(moved: Mapping[str, str]) -> sql.Composable:
    """SQL of the definition of constraint ``k`` over the other columns, by their names.

    Every second part between quotes is a text. ``carried_hazards`` refuses a quote within a name.
    """
    part: sql.Composable = sql.SQL("part")
    for source, target in moved.items():
        part = sql.SQL(
            "regexp_replace({}, {}, replace(quote_ident({}), E'\\\\', E'\\\\\\\\'), 'g')"
        ).format(part, name_pattern(source), sql.Literal(target))
    return sql.SQL(
        "(SELECT string_agg(CASE mod(p.n, 2) WHEN 1 THEN {} ELSE part END, '''' ORDER BY p.n)"
        " FROM regexp_split_to_table(pg_get_constraintdef(k.oid), '''') WITH ORDINALITY"
        " AS p (part, n))"
    ).format(part)


def takes_type(type_: sql.Composable) -> sql.Composed:
    """SQL condition: operator class ``o`` is for columns of a type, as it is for another one."""
    return sql.SQL(
        "(o.opcintype = {type} OR EXISTS (SELECT FROM pg_cast WHERE castsource = {type}"
        " AND casttarget = o.opcintype AND castmethod = 'b'))"
    ).format(type=type_)


def name_pattern(column: str) -> sql.Composable:
    """SQL of a regular expression that meets a column's name where it stands for the column."""
    return sql.SQL(
        "CASE WHEN quote_ident({name}) = {name} THEN '(?<![\\w.\"$:])' || {name}"
        " || '(?![\\w.\"$]|\\s*\\()'"
        " ELSE regexp_replace(quote_ident({name}), '(\\W)', '\\\\\\1', 'g') END"
    ).format(name=sql.Literal(column))
