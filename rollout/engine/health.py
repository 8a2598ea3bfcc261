"""Signs that the database suffers or is about to, each with its reason and number.

``throttle`` slows the backfill down, ``stop`` holds it until the sign is gone, ``unknown`` says
what could not be read and holds nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from rollout.engine.target import Connection
from rollout.plan.names import code
from rollout.plan.table import Table

Status = Literal["ok", "throttle", "stop", "unknown"]

OLD_TRANSACTION_SECONDS = 30
"""A transaction that has been open so long keeps PostgreSQL from pruning old row versions."""
LAG_SECONDS = 10
RETAINED_BYTES = 4 * 1024**3
XID_AGE = 1_000_000_000
LAST_XID_AGE = 1_800_000_000
"""PostgreSQL stops taking writes a little above two billion."""
CONNECTIONS_SHARE = 0.9
_RIGHT = "Grant pg_read_all_stats to the rollout's role."


@dataclass(frozen=True)
class Signal:
    """One sign: what it says, why, and the number that it was read from."""

    name: str
    status: Status
    reason: str
    value: float | None = None


def read_signals(connection: Connection, table: Table) -> list[Signal]:
    """Every sign about a table and its server, now. One that cannot be read is unknown."""
    return [_read(name, reader, connection, table) for name, reader in _READERS.items()]


def _read(
    name: str,
    reader: Callable[[Connection, Table], tuple[Status, str, float | None]],
    connection: Connection,
    table: Table,
) -> Signal:
    try:
        return Signal(name, *reader(connection, table))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled) as error:
        return Signal(name, "unknown", f"It could not be read: {error.diag.message_primary}")


def _row(connection: Connection, query: sql.SQL | sql.Composed) -> tuple[Any, ...] | None:
    return connection.execute(query).fetchone()


def _relations(table: Table) -> sql.Composed:
    """SQL of the table and its partitions, to be used with IN."""
    return sql.SQL("(SELECT {0}::oid UNION SELECT relid FROM pg_partition_tree({0}))").format(
        table.regclass
    )


def _hides(connection: Connection, condition: str) -> bool:
    """Whether what some sessions do is not shown to this role."""
    row = _row(
        connection,
        sql.SQL(
            "SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>' AND {}"
        ).format(code(condition)),
    )
    return bool(row and row[0])


def _old_transaction(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float,"
            " coalesce(nullif(application_name, ''), 'unnamed application'), state,"
            " left(regexp_replace(query, '\\s+', ' ', 'g'), 80)"
            " FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            " AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"
            " AND backend_type IN ('client backend', 'walsender')"
            " AND (datname = current_database() OR backend_type = 'walsender')"
            " ORDER BY xact_start LIMIT 1"
        ),
    )
    if row is None or row[1] < OLD_TRANSACTION_SECONDS:
        if _hides(connection, "datname = current_database()"):
            return "unknown", f"Other roles' transactions are hidden. {_RIGHT}", None
        return "ok", "No transaction is old.", row[1] if row else 0.0
    pid, seconds, application, state, query = row
    return (
        "throttle",
        f"Process {pid} ({application}, {state}) has had its transaction open for {seconds:,.0f} s,"
        f" so old row versions cannot be pruned: {query}",
        seconds,
    )


def _lock_waits(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            "SELECT count(DISTINCT w.pid) FROM pg_locks w WHERE NOT w.granted"
            " AND w.pid <> pg_backend_pid() AND EXISTS (SELECT FROM pg_locks h"
            " WHERE h.pid = w.pid AND h.granted AND h.locktype = 'relation' AND h.relation IN {0}"
            " AND h.mode NOT IN ('AccessShareLock')"
            " OR w.locktype = 'relation' AND w.relation IN {0})"
        ).format(_relations(table)),
    )
    waiting = float(row[0]) if row else 0.0
    if waiting:
        return "throttle", f"{waiting:.0f} sessions wait for locks on {table.label}.", waiting
    return "ok", f"Nobody waits for a lock on {table.label}.", 0.0


def _replication(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            "SELECT extract(epoch FROM replay_lag)::float, application_name, state"
            " FROM pg_stat_replication ORDER BY 1 DESC NULLS LAST, state NULLS FIRST LIMIT 1"
        ),
    )
    if row is None:
        return "ok", "There is no replica.", 0.0
    lag, name, state = row
    if lag is None and state is None:
        return "unknown", f"How far replicas are behind is hidden. {_RIGHT}", None
    # A replica that has caught up while nothing is written reports no lag.
    lag = lag or 0.0
    if lag > LAG_SECONDS:
        return "throttle", f"Replica {name} is {lag:,.1f} s behind.", lag
    return "ok", f"Replicas are at most {lag:,.1f} s behind.", lag


def _wal(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            "SELECT current_setting('archive_mode') <> 'off'"
            " AND last_failed_time > coalesce(last_archived_time, '-infinity'), last_failed_wal,"
            " (SELECT coalesce(max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()"
            "    THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)),"
            "    0)::float FROM pg_replication_slots),"
            " (SELECT max(slot_name) FROM pg_replication_slots"
            "   WHERE wal_status IN ('unreserved', 'lost'))"
            " FROM pg_stat_archiver"
        ),
    )
    assert row is not None
    failing, file, retained, losing = row
    if losing:
        return "stop", f"Replication slot {losing} is losing its WAL.", retained
    if failing:
        return "throttle", f"Archiving of WAL fails, last for {file}.", retained
    if retained > RETAINED_BYTES:
        return (
            "throttle",
            f"A replication slot holds {retained / 1024**3:,.1f} GiB of WAL.",
            retained,
        )
    return "ok", "WAL is archived and no slot holds much of it.", retained


def _wraparound_vacuum(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
            " WHERE a.query LIKE 'autovacuum:%to prevent wraparound%' AND l.relation IN {} LIMIT 1"
        ).format(_relations(table)),
    )
    if row:
        return (
            "throttle",
            f"Autovacuum (process {row[0]}) works on {table.label} to prevent wraparound.",
            1.0,
        )
    if _hides(connection, "datname = current_database() AND usesysid IS NULL"):
        return "unknown", f"What autovacuum works on is hidden. {_RIGHT}", None
    return "ok", f"No vacuum against wraparound works on {table.label}.", 0.0


def _transaction_ids(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL("SELECT max(age(datfrozenxid))::float FROM pg_database WHERE datallowconn"),
    )
    age = float(row[0]) if row else 0.0
    if age > LAST_XID_AGE:
        return "stop", f"Transaction ids are {age:,.0f} old: vacuum before anything else.", age
    if age > XID_AGE:
        return "throttle", f"Transaction ids are {age:,.0f} old; vacuum does not keep up.", age
    return "ok", f"The oldest transaction id is {age:,.0f} old.", age


def _connections(connection: Connection, table: Table) -> tuple[Status, str, float | None]:
    row = _row(
        connection,
        sql.SQL(
            # Everybody may read this one, whoever's connections they are.
            "SELECT sum(numbackends)::int, current_setting('max_connections')::int"
            " FROM pg_stat_database"
        ),
    )
    assert row is not None
    used, most = row
    reason = f"{used} of {most} connections are in use."
    return ("throttle" if used > CONNECTIONS_SHARE * most else "ok"), reason, float(used)


_READERS: dict[str, Callable[[Connection, Table], tuple[Status, str, float | None]]] = {
    "old transaction": _old_transaction,
    "lock waits": _lock_waits,
    "replication lag": _replication,
    "WAL": _wal,
    "vacuum against wraparound": _wraparound_vacuum,
    "transaction ids": _transaction_ids,
    "connections": _connections,
}
