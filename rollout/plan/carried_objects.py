"""What is bound to a column and goes along when another one takes its name.

Keys, indexes, CHECKs, foreign keys in both directions, sequences, identities and defaults. Each
index and constraint gets a twin over the other column, built and validated while writers continue.
In the transaction that hands the names on, the twin replaces its original and takes its name. The
way back builds twins over the legacy column. A twin is called after its original's OID.
"""

from collections.abc import Mapping

from psycopg import sql

from rollout.plan.actions import Action, Lock, LockMode, Statement
from rollout.plan.attributes import ATTRIBUTES_TABLE
from rollout.plan.names import TWIN, code
from rollout.plan.table import Table

# As the names of twins, and of half-built ones.
_BROKEN_TWIN = "^rollout_[0-9]+(_ccnew[0-9]*)?$"

# ``moved``: the columns whose objects go to others. Empty where these are not there.
_OBJECTS = """
moved AS (
  SELECT s.attnum AS src, s.attname AS name, quote_ident(d.attname) AS dst, s.attidentity
    FROM unnest({sources}::text[], {targets}::text[]) AS n (src, dst)
    JOIN pg_attribute AS s ON s.attrelid = {table} AND s.attname = n.src AND NOT s.attisdropped
    JOIN pg_attribute AS d ON d.attrelid = {table} AND d.attname = n.dst AND NOT d.attisdropped
), indexes AS (
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
                     -- A column of another type has an operator class of its own.
                     || CASE WHEN m.src IS NULL THEN coalesce((SELECT format(' %I.%I', s.nspname,
                          o.opcname) FROM pg_opclass AS o JOIN pg_namespace AS s
                            ON s.oid = o.opcnamespace WHERE o.oid = x.indclass[n - 1]), '')
                        ELSE '' END
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
)"""

_MISSING_INDEXES = """
SELECT definition FROM indexes AS x WHERE NOT EXISTS (
  SELECT FROM pg_class AS t JOIN pg_index AS y ON y.indexrelid = t.oid AND y.indisvalid
   WHERE t.relname = x.twin AND t.relnamespace = x.relnamespace) ORDER BY indexrelid"""
_MISSING_RULES = """
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', relation, twin, definition)
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

# Only the first lock is waited for as long as the session says: who waits for another one while
# it holds that one gives way before the server looks for a deadlock. What is referred to is first,
# as it is for an application that writes a row and then those that refer to it.
_LOCKED = """
  FOR item IN WITH {objects}
    SELECT t.oid::regclass AS relation FROM rules AS k
      CROSS JOIN LATERAL (VALUES (k.confrelid, 1), (k.conrelid, 2), ({table}, 2)) AS t (oid, place)
     WHERE t.oid <> 0 GROUP BY t.oid ORDER BY min(t.place), t.oid LOOP
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', item.relation);
    PERFORM set_config('lock_timeout', '200ms', true);
  END LOOP;"""
_RULES_REPLACED = """
  FOR item IN WITH {objects}
    SELECT k.*, obj_description(k.oid, 'pg_constraint') AS said FROM rules AS k ORDER BY k.oid LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.relation, item.conname);
    EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', item.relation, item.twin,
      item.conname);
    IF item.said IS NOT NULL THEN
      EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', item.conname, item.relation,
        item.said);
    END IF;
  END LOOP;"""
_INDEXES_REPLACED = """
  FOR item IN WITH {objects}
    SELECT x.*, s.nspname, obj_description(x.indexrelid, 'pg_class') AS said,
           obj_description(x.constraint_oid, 'pg_constraint') AS said_of_constraint
      FROM indexes AS x JOIN pg_namespace AS s ON s.oid = x.relnamespace ORDER BY 1 LOOP
    IF item.constraint_oid IS NULL THEN
      EXECUTE format('DROP INDEX %I.%I', item.nspname, item.relname);
      EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', item.nspname, item.twin, item.relname);
    ELSE
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', {label}, item.relname);
      EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', item.nspname, item.twin, item.relname);
      EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', {label}, item.relname,
        item.kind, item.relname, item.deferrable);
    END IF;
    IF item.said IS NOT NULL THEN
      EXECUTE format('COMMENT ON INDEX %I.%I IS %L', item.nspname, item.relname, item.said);
    END IF;
    IF item.said_of_constraint IS NOT NULL THEN
      EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', item.relname, {label},
        item.said_of_constraint);
    END IF;
    IF item.indisclustered THEN
      EXECUTE format('ALTER TABLE %s CLUSTER ON %I', {label}, item.relname);
    END IF;
    IF item.indisreplident THEN
      EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', {label}, item.relname);
    END IF;
  END LOOP;"""

# A sequence is altered first: that keeps others from drawing a number until the end.
_NUMBERS_MOVED = """
  FOR item IN WITH {objects}
    SELECT m.*, d.oid AS default_oid, pg_get_expr(d.adbin, d.adrelid) AS default_text,
           CASE m.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END AS generated,
           (SELECT format_type(t.atttypid, t.atttypmod) FROM pg_attribute AS t
             WHERE t.attrelid = {table} AND quote_ident(t.attname) = m.dst) AS type
      FROM moved AS m LEFT JOIN pg_attrdef AS d ON d.adrelid = {table} AND d.adnum = m.src LOOP
    FOR numbers IN SELECT q.*, format('%I.%I', n.nspname, c.relname) AS name, n.nspname, c.relname,
                          c.relacl, obj_description(c.oid, 'pg_class') AS said, w.deptype,
                          format_type(q.seqtypid, NULL) AS type, k.statement::jsonb AS kept
        FROM pg_class AS c JOIN pg_sequence AS q ON q.seqrelid = c.oid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_depend AS w ON w.classid = 'pg_class'::regclass AND w.objid = c.oid
          AND w.refclassid = 'pg_class'::regclass AND w.refobjid = {table}
          AND w.refobjsubid = item.src AND w.deptype IN ('a', 'i')
        LEFT JOIN {kept} AS k ON {own} AND k.object = format('%I.%I', n.nspname, c.relname)
       WHERE w.objid IS NOT NULL OR EXISTS (SELECT FROM pg_depend AS p
         WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = item.default_oid
           AND p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid)
    LOOP
      {resized}
      IF numbers.deptype = 'i' THEN
        EXECUTE format('SELECT last_value, is_called FROM %s', numbers.name)
          INTO last_drawn, was_drawn;
        SELECT * INTO limits FROM pg_sequence WHERE seqrelid = numbers.seqrelid;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', {label}, item.name);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %s ADD GENERATED %s AS IDENTITY (SEQUENCE NAME'
          ' %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s)', {label},
          item.dst, item.generated, numbers.name, numbers.seqincrement, limits.seqmin,
          limits.seqmax, numbers.seqstart, numbers.seqcache,
          CASE WHEN numbers.seqcycle THEN ' CYCLE' ELSE '' END);
        PERFORM setval(numbers.name::regclass, last_drawn, was_drawn);
        FOR change IN SELECT format('GRANT %s ON SEQUENCE %s TO %s%s', privilege_type, numbers.name,
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
            CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM aclexplode(numbers.relacl) LOOP
          EXECUTE change;
        END LOOP;
        IF numbers.said IS NOT NULL THEN
          EXECUTE format('COMMENT ON SEQUENCE %s IS %L', numbers.name, numbers.said);
        END IF;
      ELSIF numbers.deptype = 'a' THEN
        EXECUTE format('ALTER SEQUENCE %s OWNED BY %s.%s', numbers.name, {label}, item.dst);
      END IF;
    END LOOP;
    IF item.default_text IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s', {label}, item.dst,
        item.default_text);
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', {label}, item.name);
    END IF;
  END LOOP;"""
# What a sequence had is kept for the way back: it may have been wider than its column.
_WIDENED = """DELETE FROM {kept} AS k WHERE {own} AND k.object = numbers.name;
      INSERT INTO {kept} (plan, table_label, stage, position, kind, object, statement)
        SELECT {plan}, {kept_label}, 0, coalesce(max(k.position), 0) + 1, 'sequence', numbers.name,
               jsonb_build_object('type', numbers.type, 'min', numbers.seqmin,
                                  'max', numbers.seqmax)::text
          FROM {kept} AS k WHERE {own};
      EXECUTE format('ALTER SEQUENCE %s AS %s', numbers.name,
        CASE WHEN numbers.type = 'bigint' THEN numbers.type ELSE item.type END);"""
# A sequence that went past the end stands at the end again, where it is as used up as before.
_NARROWED = """IF numbers.kept IS NOT NULL THEN
        IF (SELECT last_value FROM pg_sequences WHERE schemaname = numbers.nspname
              AND sequencename = numbers.relname) > (numbers.kept ->> 'max')::bigint THEN
          EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', numbers.name,
            numbers.kept ->> 'max');
          PERFORM setval(numbers.seqrelid, (numbers.kept ->> 'max')::bigint, true);
        END IF;
        EXECUTE format('ALTER SEQUENCE %s AS %s MINVALUE %s MAXVALUE %s', numbers.name,
          numbers.kept ->> 'type', numbers.kept ->> 'min', numbers.kept ->> 'max');
        DELETE FROM {kept} AS k WHERE {own} AND k.object = numbers.name;
      END IF;"""


def twins(table: Table, moved: Mapping[str, str]) -> tuple[Action, ...]:
    """Build and validate a twin of each index and constraint; ``moved`` gives the column of the
    twin by that of the original. Where that column is missing, there is nothing to build.
    """
    building = (Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),)
    rules = (Lock(LockMode.SHARE_ROW_EXCLUSIVE, table.label),)
    broken = _of_table(_BROKEN, table, _BROKEN_TWIN)
    missing, unruled, unvalidated = (
        _query(table, moved, query) for query in (_MISSING_INDEXES, _MISSING_RULES, _UNVALIDATED)
    )
    return (
        _generated(broken, building, long=True),
        _generated(missing, building, long=True, scans=2),
        _generated(unruled, rules),
        _generated(unvalidated, building, long=True, scans=1),
    )


def drop_twins(table: Table) -> tuple[Action, ...]:
    """Drop the twins that never replaced their originals."""
    return (
        _generated(_of_table(_LEFT_RULES, table, TWIN), _exclusive(table)),
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


def replaced(plan: str, table: Table, moved: Mapping[str, str], *, widen: bool) -> sql.Composed:
    """SQL that puts each twin in its original's place and gives sequences and defaults away.

    It goes before the columns are renamed, in the same transaction.
    """
    kept_label = sql.Literal(f"numbers of {table.label}")
    names = {
        **_names(table, moved),
        "objects": _objects(table, moved),
        "kept": ATTRIBUTES_TABLE,
        "plan": sql.Literal(plan),
        "kept_label": kept_label,
        "own": sql.SQL("(k.plan = {} AND k.table_label = {})").format(
            sql.Literal(plan), kept_label
        ),
    }
    resized = code(_WIDENED if widen else _NARROWED).format(**names)
    parts = [
        code(part).format(resized=resized, **names)
        for part in (_LOCKED, _RULES_REPLACED, _INDEXES_REPLACED, _NUMBERS_MOVED)
    ]
    unbuilt = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT FROM ({}) AS missing").format(_query(table, moved, query))
        for query in (_MISSING_INDEXES, _MISSING_RULES, _UNVALIDATED)
    )
    body = sql.SQL(
        "DECLARE item record; numbers record; limits record; change text; last_drawn bigint;\n"
        "  was_drawn boolean;\n"
        "BEGIN\n  IF EXISTS ({}) THEN\n    RAISE EXCEPTION USING MESSAGE = {};\n  END IF;{}\nEND"
    ).format(
        unbuilt,
        sql.Literal(
            f"{table.label} got another index or constraint of the column meanwhile. Nothing was "
            "changed. Retry the phase: it builds what is missing."
        ),
        sql.SQL("").join(parts),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def _generated(
    query: sql.Composed, locks: tuple[Lock, ...], *, long: bool = False, scans: int = 0
) -> Statement:
    """The statements that a query gives, until it gives none."""
    return Statement(
        sql=query,
        done=sql.SQL("NOT EXISTS ({})").format(query),
        locks=locks,
        long=long,
        scans=scans,
        generates=True,
    )


def _exclusive(table: Table) -> tuple[Lock, ...]:
    return (Lock(LockMode.ACCESS_EXCLUSIVE, table.label),)


def _of_table(query: str, table: Table, twin: str) -> sql.Composed:
    return code(query).format(table=table.regclass, twins=sql.Literal(twin))


def _query(table: Table, moved: Mapping[str, str], query: str) -> sql.Composed:
    return sql.SQL("WITH {} {}").format(_objects(table, moved), code(query))


def _objects(table: Table, moved: Mapping[str, str]) -> sql.Composed:
    return code(_OBJECTS).format(check=check_over(moved), **_names(table, moved))


def _names(table: Table, moved: Mapping[str, str]) -> dict[str, sql.Composable]:
    return {
        "table": table.regclass,
        "label": sql.Literal(table.identifier.as_string()),
        "sources": sql.Literal(list(moved)),
        "targets": sql.Literal(list(moved.values())),
        "twins": sql.Literal(TWIN),
    }


def check_over(moved: Mapping[str, str]) -> sql.Composable:
    """SQL of the definition of constraint ``k`` over the other columns, as far as names tell it.

    Right for one without quotes: ``carried_hazards`` refuses others.
    """
    definition: sql.Composable = sql.SQL("pg_get_constraintdef(k.oid)")
    for source, target in moved.items():
        definition = sql.SQL(
            "regexp_replace({}, {}, replace(quote_ident({}), E'\\\\', E'\\\\\\\\'), 'g')"
        ).format(definition, name_pattern(source), sql.Literal(target))
    return definition


def name_pattern(column: str) -> sql.Composable:
    """SQL of a regular expression that meets a column's name where it stands for the column."""
    return sql.SQL(
        "CASE WHEN quote_ident({name}) = {name} THEN '(?<![\\w.\"$:])' || {name}"
        " || '(?![\\w.\"$]|\\s*\\()'"
        " ELSE regexp_replace(quote_ident({name}), '(\\W)', '\\\\\\1', 'g') END"
    ).format(name=sql.Literal(column))
