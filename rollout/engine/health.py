"""Signs that the database suffers or is about to, each with its reason and number.

``throttle`` slows the backfill down (``rollout.engine.throttles``), ``stop`` holds it until the
signal clears, ``unknown`` says what could not be read and holds nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg import sql

from rollout.engine.target import Connection
from rollout.engine.typed_queries import Query, Rows
from rollout.plan.names import code
from rollout.plan.table import Table

Status = Literal["ok", "throttle", "stop", "unknown"]

# A transaction open for longer keeps PostgreSQL from pruning old row versions.
MAX_TRANSACTION_SECONDS = 30
MAX_LAG_SECONDS = 10
MAX_RETAINED_BYTES = 4 * 1024**3
MAX_XID_AGE = 1_000_000_000
# PostgreSQL stops taking writes a little above two billion.
HARD_XID_AGE = 1_800_000_000
MAX_CONNECTIONS_SHARE = 0.9
_RIGHT = "Grant pg_read_all_stats to the rollout's role."


@dataclass(frozen=True)
class Signal:
    """One sign: what it says, why, the number that it was read from, and the bound above which it
    throttles; None where it has none.
    """

    name: str
    status: Status
    reason: str
    value: float | None = None
    bound: float | None = None


_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled)
# Status, reason, value and bound.
_Reading = tuple[Status, str, float | None, float | None]


def read_signals(connection: Connection, table: Table) -> list[Signal]:
    """Every sign about a table and its server, now. One that cannot be read is unknown."""
    return [_read(connection, name, question(table)) for name, question in _QUESTIONS.items()]


def _read(connection: Connection, name: str, question: Query[_Reading]) -> Signal:
    try:
        return Signal(name, *question.ask(connection))
    except _REFUSED as error:
        return Signal(name, "unknown", f"Could not be read: {error.diag.message_primary}")


def _relations(table: Table) -> sql.Composed:
    """SQL of the table and its partitions, to be used with IN."""
    return sql.SQL("(SELECT {0}::oid UNION SELECT relid FROM pg_partition_tree({0}))").format(
        table.regclass
    )


def _hides(condition: str) -> sql.Composed:
    """SQL: whether what some sessions do is not shown to this role."""
    return sql.SQL(
        "EXISTS (SELECT FROM pg_stat_activity WHERE query = '<insufficient privilege>' AND {})"
    ).format(code(condition))


def _old_transaction(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        (row,) = rows
        bound = float(MAX_TRANSACTION_SECONDS)
        if row["pid"] is None or row["seconds"] < bound:
            if row["hidden"]:
                return (
                    "unknown",
                    f"Transactions of other roles are not visible. {_RIGHT}",
                    None,
                    bound,
                )
            return "ok", "No long-running transactions.", float(row["seconds"] or 0), bound
        return (
            "throttle",
            "PID {pid} ({application}, {state}) has a transaction open for {seconds:,.0f} s, "
            "which blocks the cleanup of old row versions: {query}".format(**row),
            float(row["seconds"]),
            bound,
        )

    query = sql.SQL(
        "SELECT * FROM (SELECT {} AS hidden) AS h LEFT JOIN ("
        "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float AS seconds,"
        " coalesce(nullif(application_name, ''), 'unnamed application') AS application, state,"
        " left(regexp_replace(query, '\\s+', ' ', 'g'), 80) AS query"
        " FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        " AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"
        " AND backend_type IN ('client backend', 'walsender')"
        " AND (datname = current_database() OR backend_type = 'walsender')"
        " ORDER BY xact_start LIMIT 1) AS oldest ON true"
    ).format(_hides("datname = current_database()"))
    return Query(query, read)


def _lock_waits(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        waiting = float(rows[0]["waiting"])
        if waiting:
            return (
                "throttle",
                f"{waiting:.0f} session{'' if waiting == 1 else 's'} waiting for locks on "
                f"{table.label}.",
                waiting,
                0.0,
            )
        return "ok", f"No sessions waiting for locks on {table.label}.", 0.0, 0.0

    query = sql.SQL(
        "SELECT count(DISTINCT w.pid) AS waiting FROM pg_locks w WHERE NOT w.granted"
        " AND w.pid <> pg_backend_pid() AND EXISTS (SELECT FROM pg_locks h"
        " WHERE h.pid = w.pid AND h.granted AND h.locktype = 'relation' AND h.relation IN {0}"
        " AND h.mode NOT IN ('AccessShareLock')"
        " OR w.locktype = 'relation' AND w.relation IN {0})"
    ).format(_relations(table))
    return Query(query, read)


def _replication(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        if not rows:
            return "ok", "No replicas.", 0.0, None
        (row,) = rows
        if row["lag"] is None and row["state"] is None:
            return "unknown", f"Replication lag is not visible to this role. {_RIGHT}", None, None
        # A replica that has caught up while nothing is written reports no lag.
        lag = float(row["lag"] or 0)
        if lag > MAX_LAG_SECONDS:
            return "throttle", f"Replica {row['name']} lags {lag:,.1f} s.", lag, MAX_LAG_SECONDS
        return "ok", f"Maximum replica lag: {lag:,.1f} s.", lag, MAX_LAG_SECONDS

    query = sql.SQL(
        "SELECT extract(epoch FROM replay_lag)::float AS lag, application_name AS name, state"
        " FROM pg_stat_replication ORDER BY 1 DESC NULLS LAST, state NULLS FIRST LIMIT 1"
    )
    return Query(query, read)


def _wal(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        (row,) = rows
        retained, bound = float(row["retained"]), float(MAX_RETAINED_BYTES)
        if row["losing"]:
            return "stop", f"Replication slot {row['losing']} is losing WAL.", retained, bound
        if row["failing"]:
            reason = f"WAL archiving is failing (last file {row['file']})."
            return "throttle", reason, retained, bound
        if retained > bound:
            reason = f"A replication slot retains {retained / 1024**3:,.1f} GiB of WAL."
            return "throttle", reason, retained, bound
        return "ok", "WAL archiving OK; replication slots retain little WAL.", retained, bound

    query = sql.SQL(
        "SELECT current_setting('archive_mode') <> 'off'"
        " AND last_failed_time > coalesce(last_archived_time, '-infinity') AS failing,"
        " last_failed_wal AS file,"
        " (SELECT coalesce(max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()"
        "    THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)),"
        "    0)::float FROM pg_replication_slots) AS retained,"
        " (SELECT max(slot_name) FROM pg_replication_slots"
        "   WHERE wal_status IN ('unreserved', 'lost')) AS losing"
        " FROM pg_stat_archiver"
    )
    return Query(query, read)


def _wraparound_vacuum(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        (row,) = rows
        if row["pid"] is not None:
            return (
                "throttle",
                f"Anti-wraparound vacuum (PID {row['pid']}) is running on {table.label}.",
                1.0,
                0.0,
            )
        if row["hidden"]:
            return "unknown", f"Autovacuum activity is not visible. {_RIGHT}", None, 0.0
        return "ok", f"No anti-wraparound vacuum on {table.label}.", 0.0, 0.0

    query = sql.SQL(
        "SELECT (SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
        " WHERE a.query LIKE 'autovacuum:%to prevent wraparound%' AND l.relation IN {} LIMIT 1)"
        " AS pid, {} AS hidden"
    ).format(_relations(table), _hides("datname = current_database() AND usesysid IS NULL"))
    return Query(query, read)


def _transaction_ids(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        age = float(rows[0]["age"])
        if age > HARD_XID_AGE:
            return "stop", f"Transaction ID age {age:,.0f}: vacuum now.", age, MAX_XID_AGE
        if age > MAX_XID_AGE:
            reason = f"Transaction ID age {age:,.0f}: vacuum is not keeping up."
            return "throttle", reason, age, MAX_XID_AGE
        return "ok", f"Oldest transaction ID age: {age:,.0f}.", age, MAX_XID_AGE

    query = sql.SQL("SELECT max(age(datfrozenxid)) AS age FROM pg_database WHERE datallowconn")
    return Query(query, read)


def _connections(table: Table) -> Query[_Reading]:
    def read(rows: Rows) -> _Reading:
        used, most = rows[0]["used"], rows[0]["most"]
        reason, bound = f"{used} of {most} connections in use.", MAX_CONNECTIONS_SHARE * most
        return ("throttle" if used > bound else "ok"), reason, float(used), bound

    query = sql.SQL(
        # Every role may read this one.
        "SELECT sum(numbackends)::int AS used, current_setting('max_connections')::int AS most"
        " FROM pg_stat_database"
    )
    return Query(query, read)


_QUESTIONS: dict[str, Callable[[Table], Query[_Reading]]] = {
    "old transaction": _old_transaction,
    "lock waits": _lock_waits,
    "replication lag": _replication,
    "WAL": _wal,
    "vacuum against wraparound": _wraparound_vacuum,
    "transaction ids": _transaction_ids,
    "connections": _connections,
}
