"""What is bound to a column and goes along when another one takes its name.

Keys, indexes, CHECKs, foreign keys in both directions, sequences, identities and defaults. Each
index and constraint gets a twin over the other column, built and validated while writers continue.
In the transaction that hands the names on (``swaps``), the twin replaces its original and takes its
name. The way back builds twins over the legacy column. A twin is called after its original's OID.

PostgreSQL neither builds an index of a partitioned table concurrently nor adds a foreign key to one
without a scan. So twins are those of the partitions that hold rows. In the transaction the indexes
of parents are made empty, and the partitions' attached; a foreign key of the whole table is added,
which takes over those of the partitions. A foreign key that refers to a partitioned table needs its
new key: it is added NOT VALID in the transaction, and validated afterwards.
"""

from collections.abc import Iterable, Mapping

from psycopg import sql

from rollout.plan.actions import Action, Lock, LockMode, Statement
from rollout.plan.linked_tables import linked
from rollout.plan.names import TWIN, code
from rollout.plan.table import Table

# As the names of twins, and of half-built ones.
_BROKEN_TWIN = "^rollout_[0-9]+(_ccnew[0-9]*)?$"

# The table with its partitions, and the columns whose objects go to others. Empty where these are
# not there.
MOVED = """
tree AS (
  SELECT c.oid, c.relkind = 'p' AS is_parent, coalesce(p.level, 0) AS level
    FROM pg_class AS c LEFT JOIN pg_partition_tree({table}) AS p ON p.relid = c.oid
   WHERE c.oid IN ({relations})
), moved AS (
  SELECT t.oid AS relation, t.level, t.is_parent, s.attnum AS src, s.attname AS name,
         quote_ident(d.attname) AS dst, s.attidentity, d.atttypid AS type
    FROM tree AS t CROSS JOIN unnest({sources}::text[], {targets}::text[]) AS n (src, dst)
    JOIN pg_attribute AS s ON s.attrelid = t.oid AND s.attname = n.src AND NOT s.attisdropped
    JOIN pg_attribute AS d ON d.attrelid = t.oid AND d.attname = n.dst AND NOT d.attisdropped
)"""
OBJECTS = ", ".join(
    (
        MOVED,
        """indexes AS (
  SELECT x.indexrelid, i.relname, i.relnamespace, x.indisclustered, x.indisreplident,
         x.indrelid::regclass AS relation, t.is_parent, t.level,
         (SELECT inhparent FROM pg_inherits WHERE inhrelid = x.indexrelid) AS parent,
         format('rollout_%s', x.indexrelid) AS twin, k.oid AS constraint_oid,
         CASE WHEN t.is_parent
           THEN format('%s%s (%s)%s%s%s', z.kind, z.nulls, c.names, z.included, z.options,
             ' USING INDEX' || z.place)
           ELSE format('%s USING INDEX rollout_%s', z.kind, x.indexrelid) END
           || CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
           || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END AS declared,
         format('CREATE %sINDEX %s USING %I (%s)%s%s%s%s%s',
           CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END,
           CASE WHEN t.is_parent THEN format('%I ON ONLY %s', i.relname, x.indrelid::regclass)
             ELSE format('CONCURRENTLY rollout_%s ON %s', x.indexrelid, x.indrelid::regclass) END,
           am.amname, c.keys, z.included, z.nulls, z.options, z.place,
           ' WHERE ' || pg_get_expr(x.indpred, x.indrelid)) AS definition
    FROM pg_index AS x JOIN tree AS t ON t.oid = x.indrelid
    JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS am ON am.oid = i.relam
    LEFT JOIN pg_constraint AS k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid
      AND k.contype IN ('p', 'u')
    CROSS JOIN LATERAL (
      SELECT string_agg(p.name || p.more, ', ' ORDER BY p.n) FILTER (WHERE p.n <= x.indnkeyatts)
               AS keys,
             string_agg(p.name, ', ' ORDER BY p.n) FILTER (WHERE p.n <= x.indnkeyatts) AS names,
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
                LEFT JOIN moved AS m ON m.relation = x.indrelid AND m.src = x.indkey[n - 1]) AS p
      ) AS c
    CROSS JOIN LATERAL (VALUES (
      CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
      CASE WHEN (to_jsonb(x) ->> 'indnullsnotdistinct')::boolean
        THEN ' NULLS NOT DISTINCT' ELSE '' END,
      ' INCLUDE (' || c.included || ')', ' WITH (' || array_to_string(i.reloptions, ', ') || ')',
      (SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace WHERE oid = i.reltablespace)
      )) AS z (kind, nulls, included, options, place)
   WHERE x.indisvalid AND i.relname !~ {twins}
     AND EXISTS (SELECT FROM moved AS m WHERE m.relation = x.indrelid AND m.src = ANY (x.indkey))
), rules AS (
  SELECT k.oid, k.conname, k.conrelid, k.confrelid, k.conrelid::regclass AS relation,
         format('rollout_%s', k.oid) AS twin, k.convalidated, k.conparentid = 0 AS is_root, is_late,
         NOT is_late AND (k.contype = 'c' OR of.relkind <> 'p') AS has_twin, CASE k.contype
           WHEN 'c' THEN regexp_replace(c.definition, ' NOT VALID$', '')
           ELSE format('FOREIGN KEY (%s) REFERENCES %s (%s)%s%s%s%s%s%s', f.own,
             k.confrelid::regclass, f.other,
             CASE k.confmatchtype WHEN 'f' THEN ' MATCH FULL' ELSE '' END,
             ' ON UPDATE ' || (a.texts ->> k.confupdtype::text),
             ' ON DELETE ' || (a.texts ->> k.confdeltype::text), ' (' || f.emptied || ')',
             CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END,
             CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END) END AS definition
    FROM pg_constraint AS k JOIN pg_class AS of ON of.oid = k.conrelid
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM moved AS m WHERE m.relation = k.confrelid
      AND m.is_parent AND m.src = ANY (k.confkey))) AS l (is_late)
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
                LEFT JOIN moved AS m ON m.src = u.attnum AND m.relation = k.conrelid) AS o
        JOIN (SELECT u.n, coalesce(m.dst, quote_ident(a.attname)) AS name
                FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, n)
                JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum
                LEFT JOIN moved AS m ON m.src = u.attnum AND m.relation = k.confrelid) AS r
          ON r.n = o.n) AS f
   WHERE (k.conrelid IN (SELECT relation FROM moved) OR k.confrelid IN (SELECT relation FROM moved))
     AND k.conname !~ {twins} AND (k.contype = 'c' AND k.coninhcount = 0 OR k.contype = 'f'
       AND (k.conparentid = 0 OR NOT is_late AND of.relkind <> 'p' AND EXISTS (
         -- That of a partition, rather than one to a partition.
         SELECT FROM pg_constraint AS p WHERE p.oid = k.conparentid AND p.conrelid <> k.conrelid)))
     AND EXISTS (SELECT FROM moved AS m WHERE m.relation = k.conrelid AND m.src = ANY (k.conkey)
       OR m.relation = k.confrelid AND m.src = ANY (k.confkey))
)""",
    )
)

_MISSING_INDEXES = """
SELECT definition FROM indexes AS x WHERE NOT is_parent AND NOT EXISTS (
  SELECT FROM pg_class AS t JOIN pg_index AS y ON y.indexrelid = t.oid AND y.indisvalid
   WHERE t.relname = x.twin AND t.relnamespace = x.relnamespace) ORDER BY indexrelid"""
# While it has one table and waits for the other, it gives way after a moment.
_MISSING_RULES = """
SELECT CASE WHEN confrelid IN (0, conrelid) THEN '' ELSE
         format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = ''20ms''; ',
                confrelid::regclass) END
       || format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', relation, twin, definition)
  FROM rules AS k WHERE has_twin AND NOT EXISTS (SELECT FROM pg_constraint AS t
   WHERE t.conrelid = k.relation AND t.conname = k.twin) ORDER BY oid"""
_UNVALIDATED = """
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', relation, twin)
  FROM rules AS k WHERE has_twin AND convalidated AND EXISTS (SELECT FROM pg_constraint AS t
   WHERE t.conrelid = k.relation AND t.conname = k.twin AND NOT t.convalidated) ORDER BY oid"""
_BROKEN = """
SELECT format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass) FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid IN ({relations}) AND NOT x.indisvalid AND i.relname ~ {twins}"""
_LEFT_RULES = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
  FROM pg_constraint WHERE contype IN ('c', 'f') AND conname ~ {twins} AND conparentid = 0
   AND (conrelid IN ({relations}) AND (contype = 'f' OR coninhcount = 0)
     OR confrelid IN ({relations}))"""
_LEFT_INDEXES = """
SELECT format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass) FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid IN ({relations}) AND i.relname ~ {twins}"""
# Those to a partitioned table, added in the transaction that made its new key.
_UNPROVEN = """
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', k.conrelid::regclass, k.conname)
  FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.confrelid AND c.relkind = 'p'
 WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT k.convalidated AND EXISTS (
   SELECT FROM pg_attribute AS a WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
      AND a.attname = ANY ({columns}) AND a.attrelid IN ({relations})) ORDER BY k.oid"""

# How each twin takes its original's place: statements in their order. A foreign key of another
# table goes before the key that it refers to; what a table that has rows of its own has goes and
# comes in one statement. What goes from a table goes from its partitions too.
CHANGES = """, subcommands (relation, step, place, number, ddl) AS (
  SELECT relation, CASE WHEN is_late OR relation NOT IN (SELECT oid FROM tree) THEN 1
           WHEN relation IN (SELECT oid FROM tree WHERE is_parent) THEN 2 ELSE 3 END,
         1, oid::bigint, format('DROP CONSTRAINT %I', conname)
    FROM rules WHERE is_root
  UNION ALL
  SELECT relation, CASE WHEN is_parent THEN 2 ELSE 3 END, 2, indexrelid::bigint,
         format('DROP CONSTRAINT %I', relname)
    FROM indexes WHERE constraint_oid IS NOT NULL AND parent IS NULL
  UNION ALL
  SELECT relation, CASE WHEN is_parent THEN 5 ELSE 3 END, 3, indexrelid::bigint,
         format('ADD CONSTRAINT %I %s', relname, declared)
    FROM indexes WHERE constraint_oid IS NOT NULL
  UNION ALL
  SELECT relation, CASE WHEN is_parent THEN 7 ELSE 3 END, 4, indexrelid::bigint,
         format(c.change, CASE WHEN constraint_oid IS NULL AND NOT is_parent THEN twin
           ELSE relname END)
    FROM indexes CROSS JOIN LATERAL (VALUES (CASE WHEN indisclustered THEN 'CLUSTER ON %I' END),
      (CASE WHEN indisreplident THEN 'REPLICA IDENTITY USING INDEX %I' END)) AS c (change)
   WHERE c.change IS NOT NULL
  UNION ALL
  SELECT relation, CASE WHEN is_parent THEN 5 ELSE 3 END, 5, m.src,
         format('ALTER COLUMN %s SET DEFAULT %s, ALTER COLUMN %I DROP DEFAULT', m.dst,
           pg_get_expr(d.adbin, d.adrelid), m.name)
    FROM moved AS m JOIN pg_attrdef AS d ON d.adrelid = m.relation AND d.adnum = m.src
), changes (place, number, ddl) AS (
  SELECT step, relation::oid::bigint, format('ALTER TABLE %s%s %s',
         CASE WHEN step > 3 THEN 'ONLY ' ELSE '' END, relation::regclass,
         string_agg(ddl, ', ' ORDER BY place, number))
    FROM subcommands GROUP BY relation, step
  UNION ALL
  SELECT 4, 0, 'DROP INDEX ' || string_agg(format('%s.%I', relnamespace::regnamespace, relname),
         ', ')
    FROM indexes WHERE constraint_oid IS NULL AND parent IS NULL HAVING count(*) > 0
  UNION ALL
  SELECT 5, indexrelid::bigint, CASE WHEN is_parent THEN definition
         ELSE format('ALTER INDEX %s.%I RENAME TO %I', relnamespace::regnamespace, twin, relname)
         END
    FROM indexes WHERE constraint_oid IS NULL
  UNION ALL
  SELECT 5, oid::bigint, format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', relation, twin,
         conname)
    FROM rules WHERE has_twin
  UNION ALL
  SELECT 6, -x.level::bigint, format('ALTER INDEX %s.%I ATTACH PARTITION %s.%I',
         p.relnamespace::regnamespace, p.relname, x.relnamespace::regnamespace, x.relname)
    FROM indexes AS x JOIN pg_class AS p ON p.oid = x.parent
  UNION ALL
  SELECT 7, oid::bigint, format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', relation, conname,
         definition, CASE WHEN is_late OR NOT convalidated THEN ' NOT VALID' ELSE '' END)
    FROM rules WHERE is_root AND NOT has_twin
  UNION ALL
  SELECT 8, oid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, relation,
         obj_description(oid, 'pg_constraint'))
    FROM rules WHERE obj_description(oid, 'pg_constraint') IS NOT NULL
  UNION ALL
  SELECT 8, indexrelid::bigint, format('COMMENT ON INDEX %s.%I IS %L', relnamespace::regnamespace,
         relname, obj_description(indexrelid, 'pg_class'))
    FROM indexes WHERE obj_description(indexrelid, 'pg_class') IS NOT NULL
  UNION ALL
  SELECT 8, indexrelid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', relname, relation,
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
LOCKED_WITH_RULES = """SELECT format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE',
         p.oid::regclass), min(t.place), max(p.level) * 4294967296 + p.oid::bigint
  FROM (SELECT confrelid, 1 FROM rules UNION SELECT conrelid, 2 FROM rules
    UNION SELECT {table}, 2) AS t (oid, place)
  CROSS JOIN LATERAL (SELECT t.oid, 0 UNION SELECT relid, level FROM pg_partition_tree(t.oid))
    AS p (oid, level)
 WHERE t.oid <> 0 GROUP BY p.oid"""


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


def validate_references(table: Table, columns: Iterable[str]) -> tuple[Action, ...]:
    """Validate the foreign keys that the swap of a partitioned table added."""
    if not table.partitioned:
        return ()
    unproven = code(_UNPROVEN).format(columns=sql.Literal(list(columns)), relations=table.relations)
    locks = (Lock(LockMode.ROW_SHARE, table.label),)
    links = linked(table, columns, LockMode.ROW_SHARE, referring=LockMode.SHARE_UPDATE_EXCLUSIVE)
    return (_generated(unproven, locks, long=True, links=(links,)),)


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
    return code(query).format(relations=table.relations, twins=sql.Literal(twin))


def _query(table: Table, moved: Mapping[str, str], query: str) -> sql.Composed:
    return over_objects(f"WITH {OBJECTS} {query}", table, moved)


def over_objects(text: str, table: Table, moved: Mapping[str, str]) -> sql.Composed:
    """A part of a query over the objects of ``moved`` columns, which ``OBJECTS`` begins."""
    return code(text).format(
        table=table.regclass,
        relations=table.relations,
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
