"""The transaction in which columns take other columns' names, with all that is bound to them.

Whoever writes to the table waits for as long as its lock is held. So everything is looked up before
the lock, when what is missing is refused, and once more after it where the catalog has changed
meanwhile: nobody can change anything any more then. Only the statements are left to run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from rollout.plan.attributes import ATTRIBUTES_TABLE
from rollout.plan.carried_objects import (
    CHANGES,
    LOCKED,
    LOCKED_WITH_RULES,
    MOVED,
    OBJECTS,
    UNBUILT,
    over_objects,
)
from rollout.plan.names import code
from rollout.plan.recreated_views import LOCKS, STATEMENTS, VIEWS
from rollout.plan.table import Table

# Rounds in which all tables are locked, or none stays so.
MAX_ROUNDS = 5

# Only the first lock is waited for as long as the session says. While it holds that one, it waits
# for another only for a moment; if that is not enough, it lets all go, and the one that it lacked
# is the first of the next round.
_SWAP = """
DECLARE seen numeric; now_seen numeric; unbuilt boolean; locks text[]; locking text;
  is_first boolean; commands text[]; command text; numbers record; limits record;
  last_drawn bigint; was_drawn boolean;
BEGIN
  PERFORM set_config('plan_cache_mode', 'force_generic_plan', true);
  FOR look IN 1..2 LOOP
    {catalog}
    IF look = 1 OR now_seen <> seen THEN
      {looked_up}
      IF unbuilt THEN
        RAISE EXCEPTION USING MESSAGE = {refusal};
      END IF;
    END IF;
    seen := now_seen;{numbers}
    IF look = 1 THEN
      FOR round IN 1..{rounds} LOOP
        BEGIN
          is_first := true;
          FOREACH locking IN ARRAY locks LOOP
            EXECUTE locking;
            is_first := false;
            PERFORM set_config('lock_timeout', '20ms', true);
          END LOOP;
          EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
          IF is_first OR round = {rounds} THEN RAISE; END IF;
          locks := array_prepend(locking, array_remove(locks, locking));
          PERFORM pg_sleep(0.05 * random());
        END;
      END LOOP;
      PERFORM set_config('lock_timeout', '200ms', true);
    ELSE
      FOREACH command IN ARRAY commands LOOP EXECUTE command; END LOOP;
    END IF;
  END LOOP;
END"""

# Of which rows the catalog's description of the tables is made, as one number.
_CATALOG = """
WITH tree AS MATERIALIZED ({relations}), index AS MATERIALIZED (
  SELECT * FROM pg_index WHERE indrelid IN (SELECT oid FROM tree)
), rule AS MATERIALIZED (
  SELECT oid, ctid, xmin FROM pg_constraint
   WHERE conrelid IN (SELECT oid FROM tree) OR confrelid IN (SELECT oid FROM tree)
), part (place, version) AS (
  SELECT 'class' || c.ctid, c.xmin FROM pg_class AS c WHERE c.oid IN (SELECT oid FROM tree)
  UNION ALL
  SELECT 'column' || ctid, xmin FROM pg_attribute WHERE attrelid IN (SELECT oid FROM tree)
  UNION ALL
  SELECT 'default' || ctid, xmin FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM tree)
  UNION ALL
  SELECT 'index' || i.ctid || x.indexrelid || x.indisvalid || x.indisreplident || x.indisclustered,
         i.xmin FROM index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
  UNION ALL
  SELECT 'constraint' || ctid, xmin FROM rule
  UNION ALL
  SELECT 'comment' || ctid, xmin FROM pg_description
   WHERE objoid IN (SELECT oid FROM tree UNION ALL SELECT indexrelid FROM index
                    UNION ALL SELECT oid FROM rule)
  UNION ALL
  SELECT 'child' || ctid, xmin FROM pg_inherits WHERE inhparent IN (SELECT oid FROM tree)
  UNION ALL
  SELECT 'dependent' || ctid, xmin FROM pg_depend
   WHERE refclassid = 'pg_class'::regclass AND refobjid IN (SELECT oid FROM tree)
) SELECT sum(hashtextextended(concat_ws(' ', place, version), 0)) INTO now_seen FROM part;"""

# A sequence is altered first: that keeps others from drawing a number until the end.
_NUMBERS = """
    FOR numbers IN WITH {moved}, drawn AS (
        SELECT m.*, w.objid AS sequence, w.deptype FROM moved AS m JOIN pg_depend AS w
            ON w.refclassid = 'pg_class'::regclass AND w.refobjid = m.relation
           AND w.refobjsubid = m.src
         WHERE w.classid = 'pg_class'::regclass AND w.deptype IN ('a', 'i')
        UNION ALL
        SELECT m.*, p.refobjid, NULL FROM moved AS m
          JOIN pg_attrdef AS d ON d.adrelid = m.relation AND d.adnum = m.src
          JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
           AND p.refclassid = 'pg_class'::regclass)
      SELECT DISTINCT ON (q.seqrelid) m.name AS column_name, m.dst, q.*, n.nspname, c.relname,
             m.deptype, m.relation::regclass::text AS relation,
             format('%I.%I', n.nspname, c.relname) AS name,
             CASE m.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END AS generated,
             format_type(m.type, NULL) AS wanted, c.relacl,
             obj_description(c.oid, 'pg_class') AS comment,
             format_type(q.seqtypid, NULL) AS type, k.statement::jsonb AS kept
        FROM drawn AS m JOIN pg_sequence AS q ON q.seqrelid = m.sequence
        JOIN pg_class AS c ON c.oid = q.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN {kept} AS k ON {own} AND k.object = format('%I.%I', n.nspname, c.relname)
       -- Partitions have the default of their table: it goes with the column that owns it.
       ORDER BY q.seqrelid, m.deptype IS NULL, m.level
    LOOP
      EXIT WHEN look = 1;
      {resized}
      IF numbers.deptype = 'i' THEN
        EXECUTE format('SELECT last_value, is_called FROM %s', numbers.name)
          INTO last_drawn, was_drawn;
        SELECT * INTO limits FROM pg_sequence WHERE seqrelid = numbers.seqrelid;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', numbers.relation,
          numbers.column_name);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %s ADD GENERATED %s AS IDENTITY (SEQUENCE NAME'
          ' %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s)',
          numbers.relation, numbers.dst, numbers.generated, numbers.name, numbers.seqincrement,
          limits.seqmin, limits.seqmax, numbers.seqstart, numbers.seqcache,
          CASE WHEN numbers.seqcycle THEN ' CYCLE' ELSE '' END);
        PERFORM setval(numbers.name::regclass, last_drawn, was_drawn);
        FOR command IN SELECT ddl FROM (
            -- What ALTER DEFAULT PRIVILEGES gives on a sequence that is made.
            SELECT 1, format('REVOKE ALL ON SEQUENCE %s FROM %s', numbers.name,
                CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
              FROM pg_class AS o JOIN pg_default_acl AS p ON p.defaclrole = o.relowner
               AND p.defaclobjtype = 'S' AND p.defaclnamespace IN (0, o.relnamespace)
              CROSS JOIN LATERAL aclexplode(p.defaclacl) AS g
             WHERE o.oid = numbers.name::regclass AND g.grantee <> o.relowner
            UNION SELECT 2, format('GRANT %s ON SEQUENCE %s TO %s%s', privilege_type,
                numbers.name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
              FROM aclexplode(numbers.relacl)) AS rights (place, ddl) ORDER BY place LOOP
          EXECUTE command;
        END LOOP;
        IF numbers.comment IS NOT NULL THEN
          EXECUTE format('COMMENT ON SEQUENCE %s IS %L', numbers.name, numbers.comment);
        END IF;
      ELSIF numbers.deptype = 'a' THEN
        EXECUTE format('ALTER SEQUENCE %s OWNED BY %s.%s', numbers.name, numbers.relation,
          numbers.dst);
      END IF;
    END LOOP;"""
# What a sequence had is kept for the way back: it may have been wider than its column.
_WIDENED = """DELETE FROM {kept} AS k WHERE {own} AND k.object = numbers.name;
      INSERT INTO {kept} (plan, table_label, stage, position, kind, object, statement)
        SELECT {plan}, {kept_label}, 0, coalesce(max(k.position), 0) + 1, 'sequence', numbers.name,
               jsonb_build_object('type', numbers.type, 'min', numbers.seqmin,
                                  'max', numbers.seqmax)::text
          FROM {kept} AS k WHERE {own};
      IF numbers.type <> 'bigint' AND numbers.wanted IN ('integer', 'bigint') THEN
        EXECUTE format('ALTER SEQUENCE %s AS %s', numbers.name, numbers.wanted);
      END IF;"""
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


@dataclass(frozen=True)
class Carried:
    """Objects that go along: ``moved`` gives the column that gets them by the one that has them."""

    plan: str
    moved: Mapping[str, str]
    widen: bool
    """Whether sequences become those of the wide type, or what they were before."""
    views: bool
    """Whether views over the columns are created again."""


def swap(table: Table, changes: Sequence[sql.Composable], carried: Carried | None) -> sql.Composed:
    """SQL that locks the table, and those that are connected with what is carried, and then runs
    the statements that ``changes`` select: their place, their number in it, and the text.
    """
    if carried is None:
        begun, unbuilt, locked = "", "false", LOCKED
    else:
        begun, unbuilt, locked = f"WITH RECURSIVE {OBJECTS}{CHANGES}", UNBUILT, LOCKED_WITH_RULES
        changes = [*changes, sql.SQL("SELECT place, number, ddl FROM changes")]
        if carried.views:
            begun, locked = begun + VIEWS, f"{locked} UNION ALL {LOCKS}"
            changes.append(code(STATEMENTS))
    looked_up = sql.SQL(
        "{begun} SELECT {unbuilt},"
        " ARRAY(SELECT l.ddl FROM ({locked}) AS l (ddl, place, number) ORDER BY l.place, l.number),"
        " ARRAY(SELECT c.ddl FROM ({changes}) AS c (place, number, ddl)"
        " ORDER BY c.place, c.number)\n"
        "      INTO unbuilt, locks, commands;"
    )
    moved = carried.moved if carried else {}
    body = code(_SWAP).format(
        looked_up=looked_up.format(
            begun=over_objects(begun, table, moved),
            unbuilt=over_objects(unbuilt, table, moved),
            locked=over_objects(locked, table, moved),
            changes=sql.SQL(" UNION ALL ").join(changes),
        ),
        catalog=code(_CATALOG).format(relations=table.relations),
        numbers=_numbers(table, carried) if carried else sql.SQL(""),
        rounds=sql.Literal(MAX_ROUNDS),
        refusal=sql.Literal(
            f"{table.label} got another index or constraint of the column meanwhile. Nothing was "
            "changed. Retry the phase: it builds what is missing."
        ),
    )
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))


def _numbers(table: Table, carried: Carried) -> sql.Composed:
    kept_label = sql.Literal(f"numbers of {table.label}")
    names = {
        "kept": ATTRIBUTES_TABLE,
        "plan": sql.Literal(carried.plan),
        "kept_label": kept_label,
        "own": sql.SQL("(k.plan = {} AND k.table_label = {})").format(
            sql.Literal(carried.plan), kept_label
        ),
    }
    return code(_NUMBERS).format(
        moved=over_objects(MOVED, table, carried.moved),
        resized=code(_WIDENED if carried.widen else _NARROWED).format(**names),
        **names,
    )
