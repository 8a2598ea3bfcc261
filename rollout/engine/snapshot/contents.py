"""Which relations belong to a plan, and what they hold.

The same questions are asked of the database that is dumped, in the snapshot that the dump reads,
and of a restored copy: that their answers are equal is the proof.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool, own
from rollout.plan import facts
from rollout.plan.archives import archive_name
from rollout.plan.dropped_tables import DropTable
from rollout.plan.extracted_tables import lasting_functions
from rollout.plan.extractions import Extract, extracts_in
from rollout.plan.indexes import CreateMaterializedView
from rollout.plan.names import SCHEMA, in_target
from rollout.plan.plan import Plan
from rollout.plan.renamed_tables import RenameTable
from rollout.plan.resolvers import resolver_name
from rollout.plan.table import Named
from rollout.plan.transition import triggers
from rollout.plan.translations import Lookup

# Maximum of value pairs kept of a crosstab, most frequent first; its digest covers all.
MAX_CELLS = 2000
# Tables of the engine's schema that hold rows of every plan.
SHARED = ("modes", "decisions", "value_decisions", "attributes")


@dataclass(frozen=True)
class Relation(Named):
    schema: str
    name: str
    kind: str
    """As in pg_class: r a table, p a partitioned one, m a materialized view, v a view."""
    oid: int

    @property
    def has_rows(self) -> bool:
        """A partitioned table's rows are its partitions'; a view's are computed again."""
        return self.kind == "r"


@dataclass(frozen=True)
class Pair:
    """A legacy value, a new value, and how many rows have both."""

    legacy: str | None
    new: str | None
    rows: int


@dataclass(frozen=True)
class Crosstab:
    """The pairs of a lookup's legacy and new values."""

    table: str
    legacy_column: str
    column: str
    cells: list[Pair]
    pairs: int
    digest: str


@dataclass(frozen=True)
class Contents:
    """What a plan's relations hold."""

    counts: dict[str, int] = field(default_factory=dict)
    crosstabs: list[Crosstab] = field(default_factory=list)


def relations_of(connection: Connection, plan: Plan) -> list[Relation]:
    """The plan's relations that are there now, with the partitions of their tables."""
    wanted: list[sql.Identifier] = [table.identifier for table in plan.tables]
    lookups = [t for t in plan.translations if isinstance(t, Lookup)]
    wanted += [lookup.lookup_sql for lookup in lookups]
    wanted += [t.lookup_sql for t in plan.translations if isinstance(t, Extract)]
    wanted += [
        step.identifier
        for phase in plan.phases
        for step in phase.steps
        if isinstance(step, CreateMaterializedView)
    ]
    renamed = renamings_of(plan)
    wanted += [name for s in renamed for name in (s.identifier, s.renamed)]
    dropped = [s for phase in plan.phases for s in phase.steps if isinstance(s, DropTable)]
    wanted += [name for s in dropped for name in (s.identifier, in_target(s.archive_name(plan)))]
    wanted += [in_target(name) for name in SHARED]
    wanted += [in_target(archive_name(plan, table)) for table in plan.tables]
    wanted += [in_target(lookup.mapping_name(plan.name)) for lookup in lookups]
    rows = connection.execute(
        """
        WITH wanted AS (
          SELECT to_regclass(name) AS oid FROM unnest(%s::text[]) AS name)
        SELECT n.nspname, c.relname, c.relkind::text, c.oid::bigint
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE (c.relkind IN ('r', 'p', 'm')
                -- Of views only those of the old name of a table.
                OR c.relkind = 'v' AND obj_description(c.oid, 'pg_class') = ANY (%s))
           AND (c.oid IN (SELECT oid FROM wanted)
                OR c.oid IN (SELECT t.relid FROM wanted, pg_partition_tree(wanted.oid) AS t))
         ORDER BY 1, 2
        """,
        [[name.as_string() for name in wanted], [s.comment for s in renamed]],
    ).fetchall()
    return [Relation(*row) for row in rows]


def renamings_of(plan: Plan) -> list[RenameTable]:
    return [s for phase in plan.phases for s in phase.steps if isinstance(s, RenameTable)]


def names_of_tables(plan: Plan) -> dict[str, str]:
    """By label, the first label of a table that the plan drops or renames."""
    names = {s.new_label: s.label for s in renamings_of(plan)}
    for step in (step for phase in plan.phases for step in phase.steps):
        if isinstance(step, DropTable):
            names[f"{SCHEMA}.{step.archive_name(plan)}"] = step.label
    return names


def contents_of(connection: Connection, plan: Plan, relations: Iterable[Relation]) -> Contents:
    """Count the rows of each relation and the pairs of each lookup."""
    counts = {}
    for relation in relations:
        if relation.has_rows:
            row = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(relation.identifier)
            ).fetchone()
            counts[relation.label] = row[0] if row else 0
    lookups = [t for t in plan.translations if isinstance(t, Lookup)]
    return Contents(
        counts,
        [
            _crosstab(connection, lookup)
            for lookup in lookups
            if fetch_bool(connection, facts.relation_exists(lookup.table.identifier))
        ],
    )


def _crosstab(connection: Connection, lookup: Lookup) -> Crosstab:
    has_legacy = fetch_bool(connection, facts.column_exists(lookup.table, lookup.legacy))
    has_new = fetch_bool(connection, facts.column_exists(lookup.table, lookup.column))
    rows = connection.execute(
        own(
            sql.SQL("SELECT {}, {}, count(*) FROM {} AS t GROUP BY 1, 2").format(
                sql.Identifier("t", lookup.legacy) if has_legacy else sql.SQL("NULL::text"),
                sql.Identifier("t", lookup.column) if has_new else sql.SQL("NULL::integer"),
                lookup.table.identifier,
            )
        )
    ).fetchall()
    names: dict[int, str] = {}
    if has_new and fetch_bool(connection, facts.relation_exists(lookup.lookup_sql)):
        names = dict(
            connection.execute(
                sql.SQL("SELECT id, name FROM {}").format(lookup.lookup_sql)
            ).fetchall()
        )
    pairs = [
        Pair(legacy, None if new is None else names.get(new, f"#{new}"), count)
        for legacy, new, count in rows
    ]
    pairs.sort(key=lambda pair: (-pair.rows, pair.legacy or "", pair.new or "", repr(pair)))
    content = hashlib.sha256()
    for pair in pairs:
        content.update(repr((pair.legacy, pair.new, pair.rows)).encode())
    return Crosstab(
        table=lookup.table.label,
        legacy_column=lookup.legacy,
        column=lookup.column,
        cells=pairs[:MAX_CELLS],
        pairs=len(pairs),
        digest=content.hexdigest(),
    )


def differences(expected: Contents, restored: Contents) -> list[str]:
    """What a restored copy has otherwise than it should, a sentence each."""
    sentences = []
    for table in sorted({*expected.counts, *restored.counts}):
        wanted, there = expected.counts.get(table), restored.counts.get(table)
        if there is None:
            sentences.append(f"{table}: missing from the restored copy.")
        elif wanted is None:
            sentences.append(f"{table}: unexpected in the restored copy.")
        elif wanted != there:
            sentences.append(f"{table}: {there:,} rows instead of {wanted:,}.")
    by_column = {
        (restored_crosstab.table, restored_crosstab.column): restored_crosstab
        for restored_crosstab in restored.crosstabs
    }
    for crosstab in expected.crosstabs:
        other = by_column.get((crosstab.table, crosstab.column))
        if other is None or other.digest != crosstab.digest:
            sentences.append(
                f"Value pairs of {crosstab.table}.{crosstab.legacy_column} and {crosstab.column} "
                f"differ: {crosstab.pairs:,} in the snapshot, {other.pairs if other else 0:,} in "
                "the restored copy, or other row counts."
            )
    return sentences


def functions_of(plan: Plan) -> list[str]:
    """Names of the functions in the engine's schema that are the plan's.

    Before the cutover and after it, where columns hand their names on with it.
    """
    after = plan.renamed(frozenset(table.label for table in plan.tables_keeping_names))
    names: dict[str, None] = {}
    for of in (plan, after):
        for table in of.tables:
            for extract in extracts_in(of.conversions_of(table)):
                names |= dict.fromkeys(lasting_functions(extract))
            names |= dict.fromkeys(triggers(of, table).functions)
            names |= dict.fromkeys(resolver_name(t, of.name) for t in of.lookups_of(table))
    return list(names)


def own_prerequisites(
    connection: Connection, plan: Plan, relations: list[Relation]
) -> tuple[list[str], list[str]]:
    """SQL of the relations' schemas, and of the plan's own functions."""
    schemas = {relation.schema for relation in relations} | {SCHEMA}
    statements = [
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)).as_string()
        for name in sorted(schemas - {"public"})
    ]
    functions = connection.execute(
        _FUNCTIONS, {"schema": SCHEMA, "functions": functions_of(plan)}
    ).fetchall()
    return statements, [text for (text,) in functions]


def not_needed(connection: Connection, relations: list[Relation]) -> list[str]:
    """Names of relations that those of a dump do not need, or that come with the dump."""
    rows = connection.execute(
        _NOT_NEEDED, {"oids": [relation.oid for relation in relations], "own": SCHEMA}
    ).fetchall()
    return [name for (name,) in rows]


def left_out(connection: Connection, relations: list[Relation]) -> list[str]:
    """Foreign keys to tables that are not in the snapshot, as a table of contents names them."""
    rows = connection.execute(
        """
        SELECT format('FK CONSTRAINT %%s %%s %%s', n.nspname, c.relname, f.conname)
          FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE f.contype = 'f' AND f.conrelid = ANY (%(oids)s::oid[])
           AND NOT f.confrelid = ANY (%(oids)s::oid[])
         ORDER BY 1
        """,
        {"oids": [relation.oid for relation in relations]},
    ).fetchall()
    return [row[0] for row in rows]


_FUNCTIONS = """
SELECT pg_get_functiondef(p.oid) || coalesce(format(
         ';COMMENT ON FUNCTION %%s IS %%L', p.oid::regprocedure,
         obj_description(p.oid, 'pg_proc')), '')
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = %(schema)s AND p.proname = ANY (%(functions)s)
 ORDER BY p.oid
"""
# What PostgreSQL knows to be needed: by a relation's parts (defaults, constraints, indexes,
# triggers, policies, rules), by what these need, and so on. Foreign keys to others are left out.
_NOT_NEEDED = """
WITH RECURSIVE needed (classid, objid) AS (
  SELECT 'pg_class'::regclass::oid, oid FROM unnest(%(oids)s::oid[]) AS oid
  UNION
  SELECT more.classid, more.objid FROM needed AS n CROSS JOIN LATERAL (
    SELECT d.refclassid, d.refobjid FROM pg_depend AS d
     WHERE d.classid = n.classid AND d.objid = n.objid
    UNION ALL
    SELECT d.classid, d.objid FROM pg_depend AS d
     WHERE n.classid = 'pg_class'::regclass AND d.refclassid = n.classid AND d.refobjid = n.objid
       AND d.deptype IN ('a', 'i')
       AND d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass,
                         'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_rewrite'::regclass)
       AND NOT EXISTS (SELECT FROM pg_constraint AS f WHERE f.oid = d.objid AND f.contype = 'f')
  ) AS more (classid, objid)
), owned (oid) AS (
  SELECT unnest(%(oids)s::oid[])
  UNION ALL
  SELECT d.objid FROM pg_depend AS d
   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
     AND d.refobjid = ANY (%(oids)s::oid[]) AND d.deptype IN ('a', 'i')
)
SELECT format('%%I.%%I', n.nspname, c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', %(own)s])
   AND n.nspname NOT LIKE 'pg\\_%%'
   AND (c.oid IN (SELECT oid FROM owned)
        OR c.oid NOT IN (SELECT objid FROM needed WHERE classid = 'pg_class'::regclass))
   AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
 ORDER BY 1
"""
