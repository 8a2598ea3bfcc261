"""What hangs on the tables: broken indexes, other triggers, dependants, publications, drift."""

from rollout.engine import catalog
from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection
from rollout.plan.actions import LockMode
from rollout.plan.names import SCHEMA

SCHEMA_DRIFT = "schema"


def invalid_indexes(connection: Connection, scope: Scope) -> Item:
    """Indexes that a build left behind: every write pays for them and no query uses them."""
    name = "invalid indexes"
    invalid = rows(
        connection,
        """
        SELECT x.indexrelid::regclass::text, x.indrelid::regclass::text
          FROM pg_index x
         WHERE x.indrelid = ANY (%(oids)s::oid[]) AND NOT (x.indisvalid AND x.indisready)
           -- One that is being built now is not left behind.
           AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                            WHERE p.index_relid = x.indexrelid)
         ORDER BY 1
        """,
        oids=scope.oids,
    )
    if not invalid:
        return Item(name, "pass", f"All indexes of {scope.tables} are valid.")
    return Item(
        name,
        "warns",
        "; ".join(f"{index} on {table}" for index, table in invalid),
        "Drop each with DROP INDEX CONCURRENTLY. The phase recreates those that it builds.",
    )


def other_triggers(connection: Connection, scope: Scope) -> Item:
    """Triggers that are not the engine's: a backfill sets them off for every row."""
    name = "other triggers"
    triggers = rows(
        connection,
        """
        SELECT g.tgname, g.tgrelid::regclass::text, (g.tgtype & 1) <> 0 AND (g.tgtype & 16) <> 0
          FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
          JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE g.tgrelid = ANY (%(oids)s::oid[]) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
           AND g.tgparentid = 0 AND n.nspname <> %(own)s
         ORDER BY 3 DESC, 1
        """,
        oids=scope.oids,
        own=SCHEMA,
    )
    if not triggers:
        return Item(name, "pass", f"No other triggers on {scope.tables}.")
    evidence = "; ".join(
        f"{trigger} on {table}{', for each updated row' if each_row else ''}"
        for trigger, table, each_row in triggers
    )
    if scope.passes and any(each_row for _, _, each_row in triggers):
        return Item(
            name,
            "warns",
            evidence,
            "The phase updates every row and fires them. Make sure that they can take the load.",
        )
    return Item(name, "info", evidence)


def dependents(connection: Connection, scope: Scope) -> Item:
    """Views, functions and policies that PostgreSQL knows to need a table."""
    name = "dependent views, functions and policies"
    objects = rows(
        connection,
        """
        SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass
                    THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
                    ELSE pg_describe_object(d.classid, d.objid, 0) END
          FROM pg_depend d
          LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
          LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s::oid[])
           AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_policy'::regclass)
           AND coalesce(r.ev_class, 0) <> ALL (%(oids)s::oid[])
           AND coalesce(p.pronamespace, 0)
               IS DISTINCT FROM coalesce(to_regnamespace(%(own)s)::oid, 1)
         ORDER BY 1 LIMIT 20
        """,
        oids=scope.oids,
        own=SCHEMA,
    )
    if not objects:
        return Item(name, "pass", f"No dependent objects on {scope.tables}.")
    # Whether one of them needs a column that goes is what the step that drops it asks.
    return Item(name, "info", "; ".join(text for (text,) in objects))


def publications(connection: Connection, scope: Scope) -> Item:
    """Logical replication carries rows, never columns: subscribers need those first."""
    name = "publications"
    published = rows(
        connection,
        """
        SELECT t.pubname, string_agg(t.schemaname || '.' || t.tablename, ', ')
          FROM pg_publication_tables t
         WHERE to_regclass(format('%%I.%%I', t.schemaname, t.tablename)) = ANY (%(oids)s::oid[])
         GROUP BY 1 ORDER BY 1
        """,
        oids=scope.oids,
    )
    if not published:
        return Item(name, "pass", f"Not published: {scope.tables}.")
    evidence = "; ".join(f"{publication} publishes {tables}" for publication, tables in published)
    changes_columns = any(lock.mode is LockMode.ACCESS_EXCLUSIVE for lock in scope.strong_locks)
    if not changes_columns:
        return Item(name, "info", evidence)
    return Item(
        name,
        "warns",
        evidence,
        "Apply the change to every subscriber first: a missing column stops its replication.",
    )


def schema_drift(connection: Connection, scope: Scope) -> Item:
    """The live schema against what the plan expects before the phase."""
    name = SCHEMA_DRIFT
    plan = scope.declared or scope.plan
    live = catalog.read(connection, catalog.labels_of(plan))
    drifts = catalog.compare(plan, phases_done=scope.phase, live=live, steps_done=scope.steps_done)
    if not drifts:
        tables = len(live.tables)
        matches = "1 table matches" if tables == 1 else f"{tables:,} tables match"
        return Item(name, "pass", f"{matches} the plan.")
    more = f"; and {len(drifts) - 5} more" if len(drifts) > 5 else ""
    return Item(
        name,
        "warns",
        "; ".join(map(str, drifts[:5])) + more,
        "Review the Schema page and fix the differences.",
    )
