"""PostgreSQL's counters of the server and some tables, and what lies between two readings.

Read every few seconds: one statement for the server and one for each table, with short timeouts,
and none that reads rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from rollout.engine.snapshot.contents import relations_of
from rollout.engine.target import Connection
from rollout.plan.plan import Plan
from rollout.plan.table import Table

Numbers = dict[str, float | None]
# Calls, milliseconds and rows of each statement since its counters began, by user and query id.
Statements = dict[str, tuple[float, ...]]

SERVER_COUNTERS = (
    *("wal_bytes", "commits", "rollbacks", "blocks_read", "blocks_hit", "deadlocks", "temp_bytes"),
)
TABLE_COUNTERS = ("inserts", "updates", "hot_updates", "deletes", "vacuums")
MAX_QUERY_CHARACTERS = 500
MAX_STATEMENTS = 10

_SERVER = """
SELECT extract(epoch FROM pg_postmaster_start_time())::float AS started,
       extract(epoch FROM d.stats_reset)::float AS reset,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
             ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::float AS wal_bytes,
       d.xact_commit::float AS commits, d.xact_rollback::float AS rollbacks,
       d.blks_read::float AS blocks_read, d.blks_hit::float AS blocks_hit,
       d.deadlocks::float, d.temp_bytes::float,
       (SELECT sum(numbackends) FROM pg_stat_database)::float AS connections,
       current_setting('max_connections')::float AS max_connections,
       (SELECT count(*) FROM pg_locks JOIN pg_stat_activity AS a USING (pid)
         WHERE NOT granted AND a.datname = current_database())::float AS lock_waits,
       (SELECT max(extract(epoch FROM clock_timestamp() - xact_start))
          FROM pg_stat_activity WHERE datname = current_database()
           AND backend_type = 'client backend' AND pid <> pg_backend_pid())::float
         AS oldest_transaction,
       (SELECT count(*) FROM pg_stat_replication)::float AS replicas,
       (SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication)::float AS lag,
       (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))
          FROM pg_replication_slots WHERE NOT pg_is_in_recovery())::float AS slot_bytes
  FROM pg_stat_database AS d WHERE d.datname = current_database()"""

_TABLE = sql.SQL(
    """
SELECT sum(pg_table_size(p.relid))::float AS table_bytes,
       sum(pg_indexes_size(p.relid))::float AS index_bytes,
       sum(s.n_live_tup)::float AS live, sum(s.n_dead_tup)::float AS dead,
       sum(s.n_tup_ins)::float AS inserts, sum(s.n_tup_upd)::float AS updates,
       sum(s.n_tup_hot_upd)::float AS hot_updates, sum(s.n_tup_del)::float AS deletes,
       sum(s.vacuum_count + s.autovacuum_count)::float AS vacuums,
       extract(epoch FROM max(greatest(s.last_vacuum, s.last_autovacuum)))::float AS vacuumed,
       (SELECT count(*) FROM pg_stat_progress_vacuum AS v
         WHERE v.relid IN (SELECT relid FROM pg_partition_tree({table})
                           UNION SELECT {table}::oid))::float AS vacuuming,
       -- The number that the sequence of its key has given last.
       (SELECT max(pg_sequence_last_value(q.seqrelid)) FROM pg_attribute AS a
         CROSS JOIN LATERAL (
           SELECT w.objid AS sequence FROM pg_depend AS w
            WHERE w.classid = 'pg_class'::regclass AND w.refclassid = 'pg_class'::regclass
              AND w.refobjid = a.attrelid AND w.refobjsubid = a.attnum AND w.deptype IN ('a', 'i')
           UNION
           SELECT w.refobjid FROM pg_attrdef AS f JOIN pg_depend AS w
               ON w.classid = 'pg_attrdef'::regclass AND w.objid = f.oid
              AND w.refclassid = 'pg_class'::regclass
            WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum) AS s
          JOIN pg_sequence AS q ON q.seqrelid = s.sequence AND q.seqincrement > 0
           AND has_sequence_privilege(q.seqrelid, 'USAGE, SELECT')
         WHERE a.attrelid = {table} AND a.attname = {key})::float AS drawn
  FROM (SELECT {table}::oid AS relid UNION SELECT relid FROM pg_partition_tree({table})) AS p
  LEFT JOIN pg_stat_all_tables AS s ON s.relid = p.relid"""
)


def read_server(connection: Connection) -> Numbers:
    """The server's and the database's counters and gauges; times are seconds since the epoch."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return dict(cursor.execute(_SERVER).fetchone() or {})


def read_table(connection: Connection, table: Table) -> Numbers:
    """A table's, with its partitions. Raises psycopg.Error where it cannot be locked to be read."""
    with connection.cursor(row_factory=dict_row) as cursor:
        query = _TABLE.format(table=table.regclass, key=sql.Literal(table.key[0]))
        return dict(cursor.execute(query).fetchone() or {})


def read_statements(connection: Connection) -> Statements | None:
    """The counters of pg_stat_statements in this database; None where it cannot be read."""
    try:
        # Checked first: else every reading would leave an error in the server's log.
        (known,) = connection.execute(
            "SELECT to_regprocedure('pg_stat_statements(boolean)') IS NOT NULL"
        ).fetchone() or (False,)
        if not known:
            return None
        rows = connection.execute(
            "SELECT concat_ws('.', userid, queryid, toplevel), calls, total_exec_time, rows"
            " FROM pg_stat_statements(false) WHERE queryid IS NOT NULL"
            " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    except psycopg.Error:
        return None
    return {key: (float(calls), float(ms), float(n)) for key, calls, ms, n in rows}


def texts_of(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """The statements' texts on one line, with parameters in place of values."""
    ids = [int(key.split(".")[1]) for key in keys]
    rows = connection.execute(
        "SELECT concat_ws('.', userid, queryid, toplevel),"
        " left(regexp_replace(query, '\\s+', ' ', 'g'), %s)"
        " FROM pg_stat_statements WHERE queryid = ANY (%s)",
        [MAX_QUERY_CHARACTERS, ids],
    ).fetchall()
    return dict(rows)


def between(
    before: Mapping[str, float | None], after: Mapping[str, float | None], counters: Sequence[str]
) -> Numbers:
    """The difference of each counter; None where it was reset, or one of the readings lacks it.

    The times of a restart and of a reset tell that, and so does a counter that fell.
    """
    restarted = any(before.get(name) != after.get(name) for name in ("started", "reset"))
    differences: Numbers = {}
    for name in counters:
        earlier, later = before.get(name), after.get(name)
        # WAL positions outlive both: they are places in a file, not statistics.
        reset = restarted and name != "wal_bytes"
        differences[name] = (
            None
            if earlier is None or later is None or reset or later < earlier
            else later - earlier
        )
    return differences


def statements_between(before: Statements, after: Statements) -> Statements:
    """What each statement did between two readings, the slowest first.

    A statement whose counters fell was reset, or its entry was evicted and created again: all that
    it has now, it did since.
    """
    differences: Statements = {}
    for key, now in after.items():
        then = before.get(key, (0.0, 0.0, 0.0))
        if now[0] < then[0]:
            then = (0.0, 0.0, 0.0)
        if now[0] > then[0]:
            differences[key] = tuple(b - a for a, b in zip(then, now, strict=True))
    longest = sorted(differences, key=lambda key: -differences[key][1])[:MAX_STATEMENTS]
    return {key: differences[key] for key in longest}


@dataclass(frozen=True)
class Measure:
    """Bytes: the position of the server's WAL, and the size of each table with its indexes."""

    wal: int
    sizes: dict[str, int]

    def growth_since(self, before: Mapping[str, int]) -> dict[str, int]:
        """By how much each table whose size is another one has grown."""
        growth = {table: size - before.get(table, 0) for table, size in self.sizes.items()}
        return {table: size for table, size in growth.items() if size}


def measure(connection: Connection, plan: Plan) -> Measure | None:
    """Measure the server now; None where it does not answer at once."""
    try:
        with connection.transaction():
            connection.execute(
                "SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '1s'"
            )
            row = connection.execute(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
            ).fetchone()
            relations = relations_of(connection, plan)
            sizes = connection.execute(
                "SELECT oid::bigint, pg_total_relation_size(oid) FROM unnest(%s::oid[]) AS oid",
                [[relation.oid for relation in relations if relation.kind != "p"]],
            ).fetchall()
    except psycopg.Error:
        return None
    labels = {relation.oid: relation.label for relation in relations}
    return Measure(int(row[0]) if row else 0, {labels[oid]: size or 0 for oid, size in sizes})
