"""A column's attributes: read before the column is dropped, and restored by the rollback.

Defaults, collations, statistics targets, storage, compression, options, comments and rights of
columns; CHECKs and foreign keys over them, indexes, extended statistics. Each is kept as the
statement that creates it again, in a table of the engine's own, in the transaction that drops it.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.conversions import Conversion
from rollout.plan.names import in_target
from rollout.plan.partition_attributes import are_there, is_added_by_parts, keys_left, of_partitions
from rollout.plan.removal_hazards import CONSTANT, CONSTANT_TEXT
from rollout.plan.table import Table

# Statements by plan and table, in the order of their ``stage`` and ``position``.
ATTRIBUTES_TABLE = in_target("attributes")

# Stages, in the order in which they are run.
COLUMN, SHORT, LONG, LAST = range(4)

# What depends on the columns: PostgreSQL drops it silently.
_QUERY = """
WITH col AS (
  SELECT a.*, quote_ident(a.attname) AS name, t.typcollation, t.typstorage
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
   WHERE a.attrelid = {table} AND a.attname = ANY ({columns}) AND NOT a.attisdropped
), needs AS (
  SELECT DISTINCT d.classid, d.objid FROM pg_depend AS d JOIN col
    ON d.refclassid = 'pg_class'::regclass AND d.refobjid = col.attrelid
   AND d.refobjsubid = col.attnum
), con AS (
  SELECT k.*, pg_get_constraintdef(k.oid) AS def FROM pg_constraint AS k
    JOIN needs ON needs.classid = 'pg_constraint'::regclass AND needs.objid = k.oid
   WHERE k.conrelid = {table} AND k.contype IN ('c', 'f', 'u')
), ind AS (
  SELECT i.oid, i.relname, con.conname, con.condeferrable, con.condeferred,
         regexp_replace(pg_get_indexdef(i.oid), '^CREATE (UNIQUE )?INDEX ',
                        'CREATE \\1INDEX CONCURRENTLY ') AS def
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    LEFT JOIN con ON con.conindid = i.oid AND con.contype = 'u'
   WHERE x.indrelid = {table} AND NOT x.indisprimary AND NOT x.indisexclusion
     AND (con.oid IS NOT NULL OR i.oid IN (
       SELECT objid FROM needs WHERE classid = 'pg_class'::regclass))
     AND (SELECT relkind FROM pg_class WHERE oid = {table}) = 'r'
), kept (stage, place, kind, object, statement) AS (
  SELECT {column}, 0, '', '', format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s%s', {label},
         name, format_type(atttypid, atttypmod),
         CASE WHEN attcollation <> typcollation THEN ' COLLATE ' || (
           SELECT format('%I.%I', n.nspname, k.collname) FROM pg_collation AS k
             JOIN pg_namespace AS n ON n.oid = k.collnamespace WHERE k.oid = attcollation)
         ELSE '' END)
    FROM col
  UNION ALL
  SELECT {column}, 1, '', '', format('ALTER TABLE %s ALTER COLUMN %s %s', {label}, name, change)
    FROM col LEFT JOIN pg_attrdef AS d ON d.adrelid = col.attrelid AND d.adnum = col.attnum
    CROSS JOIN LATERAL (VALUES
      (CASE WHEN attstattarget >= 0 THEN format('SET STATISTICS %s', attstattarget) END),
      (CASE WHEN attstorage <> typstorage THEN 'SET STORAGE ' || CASE attstorage
         WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
         ELSE 'EXTENDED' END END),
      (CASE attcompression WHEN 'p' THEN 'SET COMPRESSION pglz'
         WHEN 'l' THEN 'SET COMPRESSION lz4' END),
      (format('SET (%s)', array_to_string(attoptions, ', '))),
      ('SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
    ) AS changes (change)
   WHERE change <> 'SET ()'
  UNION ALL
  SELECT {column}, 2, '', '', format('COMMENT ON COLUMN %s.%s IS %L', {label}, name, said)
    FROM col CROSS JOIN LATERAL col_description(attrelid, attnum) AS said WHERE said IS NOT NULL
  UNION ALL
  SELECT {column}, 3, '', '', format('GRANT %s (%s) ON TABLE %s TO %s%s', privilege_type, name,
         {label}, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
         CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM col CROSS JOIN LATERAL aclexplode(attacl)
  UNION ALL
  SELECT {short}, 0, 'constraint', conname, format('ALTER TABLE %s ADD CONSTRAINT %I %s%s',
         {label}, conname, def, CASE WHEN convalidated THEN ' NOT VALID' ELSE '' END)
         || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', conname, {label},
                            obj_description(con.oid, 'pg_constraint')), '')
    FROM con WHERE contype IN ('c', 'f') AND NOT {by_parts}
  UNION ALL
  SELECT {short}, 1, 'statistics', s.stxname, pg_get_statisticsobjdef(s.oid)
         || CASE WHEN s.stxstattarget >= 0 THEN format('; ALTER STATISTICS %I.%I SET STATISTICS %s',
              n.nspname, s.stxname, s.stxstattarget) ELSE '' END
         || coalesce(format('; COMMENT ON STATISTICS %I.%I IS %L', n.nspname, s.stxname,
                            obj_description(s.oid, 'pg_statistic_ext')), '')
    FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace
    JOIN needs ON needs.classid = 'pg_statistic_ext'::regclass AND needs.objid = s.oid
   WHERE s.stxrelid = {table}
  UNION ALL
  SELECT {short}, 2, 'constraint', k.conname, format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I',
         {label}, names.usual, k.conname)
         || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, {label},
                            obj_description(k.oid, 'pg_constraint')), '')
    FROM pg_constraint AS k JOIN col ON k.conkey = ARRAY[col.attnum]
    JOIN unnest({columns}, {not_nulls}) AS names (legacy, usual) ON names.legacy = col.attname
   WHERE k.conrelid = {table} AND k.contype = 'n' AND k.conname <> names.usual
  UNION ALL
  SELECT {long}, 0, 'validated', conname, format('ALTER TABLE %s VALIDATE CONSTRAINT %I',
         {label}, conname)
    FROM con WHERE contype IN ('c', 'f') AND convalidated AND NOT {by_parts}
  UNION ALL
  SELECT {long}, 1, 'index', relname, def FROM ind
  UNION ALL
  SELECT {last}, 0, 'constraint', conname,
         format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE USING INDEX %I%s%s', {label}, conname,
                relname, CASE WHEN condeferrable THEN ' DEFERRABLE' ELSE '' END,
                CASE WHEN condeferred THEN ' INITIALLY DEFERRED' ELSE '' END)
         || coalesce(format('; COMMENT ON CONSTRAINT %I ON %s IS %L', conname, {label},
              (SELECT obj_description(con.oid, 'pg_constraint') FROM con
                WHERE con.conname = ind.conname)), '')
    FROM ind WHERE conname IS NOT NULL
  UNION ALL
  SELECT {last}, 1, 'comment', relname, format('COMMENT ON INDEX %s IS %L', oid::regclass,
         obj_description(oid, 'pg_class'))
    FROM ind WHERE obj_description(oid, 'pg_class') IS NOT NULL{more}
)
INSERT INTO {kept} (plan, table_label, stage, position, kind, object, statement)
  SELECT {plan}, {label}, stage, row_number() OVER (ORDER BY stage, place), kind, object, statement
    FROM kept WHERE statement IS NOT NULL
"""


def of_table(plan: str, table: Table) -> sql.Composed:
    """SQL condition: a kept statement is of this plan and table."""
    return sql.SQL("plan = {} AND table_label = {}").format(
        sql.Literal(plan), sql.Literal(table.identifier.as_string())
    )


def keep(plan: str, table: Table, columns: Sequence[str], not_nulls: Sequence[str]) -> sql.Composed:
    """SQL that writes down what the columns have; for columns that are gone it does nothing.

    ``not_nulls`` are the names that the rollback gives the columns' NOT NULL constraints.
    """
    names = sql.SQL("{}::text[]").format(sql.Literal(list(columns)))
    query = sql.SQL(_QUERY).format(
        table=table.regclass,
        label=sql.Literal(table.identifier.as_string()),
        columns=names,
        by_parts=is_added_by_parts(table),
        more=of_partitions(table, names, stages=(COLUMN, SHORT, LAST)),
        not_nulls=sql.SQL("{}::text[]").format(sql.Literal(list(not_nulls))),
        kept=ATTRIBUTES_TABLE,
        plan=sql.Literal(plan),
        column=sql.Literal(COLUMN),
        short=sql.Literal(SHORT),
        long=sql.Literal(LONG),
        last=sql.Literal(LAST),
    )
    body = sql.SQL(
        "DECLARE path text := current_setting('search_path');\n"
        "BEGIN\n  IF {there} THEN\n"
        # What is printed names every schema then.
        "  PERFORM set_config('search_path', 'pg_catalog', true);\n"
        "  DELETE FROM {kept} WHERE {own};\n{query};\n"
        "  PERFORM set_config('search_path', path, true);\n"
        "  END IF;\nEND"
    ).format(
        there=facts.all_of(*(facts.column_exists(table, column) for column in columns)),
        kept=ATTRIBUTES_TABLE,
        own=of_table(plan, table),
        query=query,
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def default_of(
    plan: str, table: Table, legacy: str, new: str, meaning: sql.Identifier
) -> sql.Composed:
    """SQL that gives a new column the default that means what a row without the legacy text does.

    ``meaning`` is the function that gives the lookup row of a text. A legacy column that must be
    written, because it is NOT NULL without a default, has none to hand on. The rollback takes the
    default away again.
    """
    body = sql.SQL(
        "DECLARE default_text text; must_be_written boolean; meant text;\n"
        "BEGIN\n"
        "  SELECT pg_get_expr(d.adbin, d.adrelid), a.attnotnull AND d.oid IS NULL\n"
        "    INTO default_text, must_be_written FROM pg_attribute AS a\n"
        "    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum\n"
        "    WHERE a.attrelid = {table} AND a.attname = {legacy} AND NOT EXISTS (SELECT\n"
        "      FROM pg_attribute AS n WHERE n.attrelid = {table} AND n.attname = {new}"
        " AND n.atthasdef);\n"
        "  IF must_be_written IS NOT FALSE OR default_text !~ {constant} THEN RETURN; END IF;\n"
        "  EXECUTE format('SELECT %s ((%s)::text)', {meaning}, coalesce(default_text, 'NULL'))\n"
        "    INTO meant;\n"
        "  IF meant IS NULL THEN RETURN; END IF;\n"
        "  EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s',\n"
        "    {label}, {new}, meant);\n"
        "  INSERT INTO {kept} (plan, table_label, stage, position, kind, object, statement)\n"
        "    SELECT {plan}, {label}, {stage}, coalesce(max(position), 0) + 1, '', '',\n"
        "      format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', {label}, {new})\n"
        "    FROM {kept} WHERE {own};\n"
        "END"
    ).format(
        table=table.regclass,
        legacy=sql.Literal(legacy),
        new=sql.Literal(new),
        constant=sql.Literal(CONSTANT_TEXT),
        meaning=sql.Literal(meaning.as_string()),
        label=sql.Literal(table.identifier.as_string()),
        kept=ATTRIBUTES_TABLE,
        plan=sql.Literal(plan),
        stage=sql.Literal(COLUMN),
        own=of_table(plan, table),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def default_by(plan: str, table: Table, conversion: Conversion) -> sql.Composed:
    """SQL that gives the new columns of a conversion what the defaults of its legacy ones mean.

    A legacy column that must be written has none to hand on, and one that does not convert means
    nothing. The rollback takes the defaults away again.
    """
    given = sql.SQL(" || ', (' || ").join(
        sql.SQL("defaults[{}] || {}").format(
            sql.Literal(number),
            sql.Literal(f")::{table.columns[c].type} AS {sql.Identifier(c).as_string()}"),
        )
        for number, c in enumerate(conversion.reads, start=1)
    )
    lines = [
        sql.SQL(
            "  EXECUTE {select} || ' FROM (SELECT (' || {given} || ') AS d' INTO meant;\n"
            "  IF meant IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute AS n\n"
            "      WHERE n.attrelid = {table} AND n.attname = {name} AND n.atthasdef) THEN\n"
            "    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %L::%s', {label},\n"
            "      {name}, meant, {type});\n"
            "    INSERT INTO {kept} (plan, table_label, stage, position, kind, object, statement)\n"
            "      SELECT {plan}, {label}, {stage}, coalesce(max(position), 0) + 1, '', '',\n"
            "        format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', {label}, {name})\n"
            "      FROM {kept} WHERE {own};\n"
            "  END IF;"
        ).format(
            select=sql.Literal(f"SELECT ({value.as_string()})::text"),
            given=given,
            table=table.regclass,
            name=sql.Literal(column),
            type=sql.Literal(conversion.added[column].type),
            label=sql.Literal(table.identifier.as_string()),
            kept=ATTRIBUTES_TABLE,
            plan=sql.Literal(plan),
            stage=sql.Literal(COLUMN),
            own=of_table(plan, table),
        )
        for column, value in conversion.values("d").items()
    ]
    body = sql.SQL(
        "DECLARE defaults text[]; meant text;\n"
        "BEGIN\n"
        "  SELECT array_agg(coalesce(e.printed, 'NULL') ORDER BY r.number) INTO defaults\n"
        "    FROM unnest({reads}::text[]) WITH ORDINALITY AS r (name, number)\n"
        "    JOIN pg_attribute AS a ON a.attrelid = {table} AND a.attname = r.name\n"
        "    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum\n"
        "    LEFT JOIN LATERAL pg_get_expr(d.adbin, d.adrelid) AS e (printed) ON true\n"
        "    HAVING bool_and(NOT a.attnotnull OR d.oid IS NOT NULL)\n"
        "      AND bool_and(e.printed IS NULL OR e.printed ~ {constant});\n"
        "  IF defaults IS NULL THEN RETURN; END IF;\n"
        "{lines}\n"
        "EXCEPTION WHEN data_exception THEN\n"
        "  RETURN;\n"
        "END"
    ).format(
        reads=sql.Literal(list(conversion.reads)),
        table=table.regclass,
        constant=sql.Literal(CONSTANT),
        lines=sql.SQL("\n").join(lines),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def put_back_columns(plan: str, table: Table) -> sql.Composed:
    """SQL that adds the columns again, with what they had of their own."""
    body = sql.SQL(
        "DECLARE kept text;\nBEGIN\n"
        "  FOR kept IN SELECT statement FROM {} WHERE {} AND stage = {}{} ORDER BY position LOOP\n"
        "    EXECUTE kept;\n  END LOOP;\nEND"
    ).format(ATTRIBUTES_TABLE, of_table(plan, table), sql.Literal(COLUMN), are_there(table))
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


_LEFT = """SELECT statement FROM (
  SELECT position, 1 AS part, statement FROM {kept}
   WHERE {own} AND stage = {stage} AND kind <> 'parts' AND NOT {there}
  UNION ALL
  SELECT k.position, 0, format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass)
    FROM {kept} AS k JOIN pg_index AS x ON x.indrelid = {table} AND NOT x.indisvalid
    JOIN pg_class AS c ON c.oid = x.indexrelid AND c.relname = k.object
   WHERE {own} AND k.stage = {stage} AND k.kind = 'index'{keys}
) AS left_over ORDER BY position, part"""
_THERE = """CASE kind
  WHEN 'constraint' THEN EXISTS (SELECT FROM pg_constraint
    WHERE conrelid = {table} AND conname = object)
  WHEN 'validated' THEN EXISTS (SELECT FROM pg_constraint
    WHERE conrelid = {table} AND conname = object AND convalidated)
  WHEN 'statistics' THEN EXISTS (SELECT FROM pg_statistic_ext
    WHERE stxrelid = {table} AND stxname = object)
  WHEN 'index' THEN EXISTS (SELECT FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
    WHERE indrelid = {table} AND c.relname = object AND indisvalid)
  WHEN 'comment' THEN EXISTS (SELECT FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
    WHERE indrelid = {table} AND c.relname = object
      AND obj_description(c.oid, 'pg_class') IS NOT NULL)
  ELSE false END"""


def put_back_the_rest(plan: str, table: Table) -> tuple[Statement, ...]:
    """CHECKs, foreign keys, indexes and statistics, once every row has its text again."""

    def left(stage: int) -> sql.Composed:
        return sql.SQL(_LEFT).format(
            kept=ATTRIBUTES_TABLE,
            own=of_table(plan, table),
            stage=sql.Literal(stage),
            table=table.regclass,
            there=sql.SQL(_THERE).format(table=table.regclass),
            keys=keys_left(
                table,
                kept=ATTRIBUTES_TABLE,
                own=of_table(plan, table),
                validating=None if stage == LAST else stage == LONG,
            ),
        )

    return tuple(
        Statement(
            sql=left(stage),
            done=sql.SQL("NOT EXISTS ({})").format(left(stage)),
            locks=(Lock(mode, table.label),),
            generates=True,
            long=stage == LONG,
            scans=2 if stage == LONG else 0,
        )
        for stage, mode in (
            (SHORT, LockMode.ACCESS_EXCLUSIVE),
            (LONG, LockMode.SHARE_UPDATE_EXCLUSIVE),
            (LAST, LockMode.ACCESS_EXCLUSIVE),
        )
    )


def forget(plan: str, table: Table) -> sql.Composed:
    return sql.SQL("DELETE FROM {} WHERE {}").format(ATTRIBUTES_TABLE, of_table(plan, table))


def let_write(table: Table, sources: Mapping[str, Sequence[str]]) -> sql.Composed:
    """SQL that gives new columns the rights that are on each column they are made of.

    Rights on the whole table are on the new columns anyway.
    """
    pairs = [(new, source) for new, of in sources.items() for source in of]
    body = sql.SQL(
        "DECLARE wanted text;\nBEGIN\n"
        "  FOR wanted IN SELECT format('GRANT %s (%I) ON TABLE %s TO %s%s', acl.privilege_type,"
        " made.new, {table}, CASE acl.grantee WHEN 0 THEN 'PUBLIC'"
        " ELSE acl.grantee::regrole::text END,"
        " CASE WHEN bool_and(acl.is_grantable) THEN ' WITH GRANT OPTION' ELSE '' END)\n"
        "    FROM unnest({news}::text[], {olds}::text[]) AS made (new, source)\n"
        "    JOIN pg_attribute AS a ON a.attrelid = {regclass} AND a.attname = made.source\n"
        "    CROSS JOIN LATERAL aclexplode(a.attacl) AS acl\n"
        "    GROUP BY made.new, acl.privilege_type, acl.grantee\n"
        "    HAVING count(DISTINCT made.source) = (SELECT count(*)"
        " FROM unnest({news}::text[]) AS n (new) WHERE n.new = made.new)\n"
        "  LOOP EXECUTE wanted; END LOOP;\nEND"
    ).format(
        table=sql.Literal(table.identifier.as_string()),
        regclass=table.regclass,
        news=sql.Literal([new for new, _ in pairs]),
        olds=sql.Literal([source for _, source in pairs]),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def let_read(relation: sql.Identifier, table: Table, legacy: str) -> sql.Composed:
    """SQL that lets readers of a legacy column read the lookup table that replaces it."""
    body = sql.SQL(
        "DECLARE reader text;\nBEGIN\n"
        "  FOR reader IN SELECT DISTINCT CASE acl.grantee WHEN 0 THEN 'PUBLIC'"
        " ELSE acl.grantee::regrole::text END\n"
        "    FROM pg_class AS c LEFT JOIN pg_attribute AS a"
        " ON a.attrelid = c.oid AND a.attname = {legacy}\n"
        "    CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl)"
        " UNION SELECT * FROM aclexplode(a.attacl)) AS acl\n"
        "    WHERE c.oid = {table} AND acl.privilege_type = 'SELECT'\n"
        "  LOOP EXECUTE format('GRANT SELECT ON TABLE %s TO %s', {relation}, reader);"
        " END LOOP;\nEND"
    ).format(
        legacy=sql.Literal(legacy),
        table=table.regclass,
        relation=sql.Literal(relation.as_string()),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))
