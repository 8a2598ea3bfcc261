"""Other sessions on the tables: long and idle transactions, lock waits, vacuum."""

from psycopg import sql

from rollout.engine import ddl
from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection

HIDDEN = "Sessions of other roles are not visible."
SEE_ALL = "Grant pg_read_all_stats to the rollout's role."

_SESSIONS = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed application'), a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::int,
       left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80),
       EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted
                AND l.locktype = 'relation' AND l.relation = ANY (%(oids)s::oid[]))
  FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND a.backend_type = 'client backend' AND a.xact_start IS NOT NULL
   AND clock_timestamp() - a.xact_start >= %(age)s
   AND (a.state LIKE 'idle in transaction%%') = %(idle)s
 ORDER BY 6 DESC, a.xact_start LIMIT 5
"""


def long_transactions(connection: Connection, scope: Scope) -> Item:
    """Long-running transactions: locks and the cleanup of row versions wait for them."""
    return _transactions(connection, scope, idle=False)


def idle_in_transaction(connection: Connection, scope: Scope) -> Item:
    """Idle transactions that hold their locks."""
    return _transactions(connection, scope, idle=True)


def _transactions(connection: Connection, scope: Scope, *, idle: bool) -> Item:
    name, age, none, advice = (
        (
            "idle in transaction",
            scope.limits.idle_transaction,
            "No idle-in-transaction sessions.",
            "Ask its owner to end it: a forgotten transaction may never end.",
        )
        if idle
        else (
            "long transactions",
            scope.limits.long_transaction,
            "No long-running transactions.",
            "Wait for it to finish, or ask its owner to end it.",
        )
    )
    transactions = rows(connection, _SESSIONS, oids=scope.oids, age=age, idle=idle)
    if not transactions:
        if _some_are_hidden(connection):
            return Item(name, "unknown", HIDDEN, SEE_ALL)
        return Item(name, "pass", none)
    evidence = "; ".join(
        f"PID {pid} ({application}, {state}, open for {open_for:,} "
        f"s{', holds a lock on a table of the plan' if holds else ''}): {query}"
        for pid, application, state, open_for, query, holds in transactions
    )
    in_the_way = bool(scope.strong_locks) and any(row[5] for row in transactions)
    return Item(name, "blocks" if in_the_way else "warns", evidence, advice)


def _some_are_hidden(connection: Connection) -> bool:
    return bool(
        rows(
            connection,
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND query = '<insufficient privilege>' LIMIT 1",
        )
    )


def prepared_transactions(connection: Connection, scope: Scope) -> Item:
    """Prepared transactions that never ended: they hold their locks across a restart."""
    name = "prepared transactions"
    transactions = rows(
        connection,
        """
        SELECT p.gid, p.owner::text, extract(epoch FROM clock_timestamp() - p.prepared)::int,
               EXISTS (SELECT FROM pg_locks x
                         JOIN pg_locks l ON l.virtualtransaction = x.virtualtransaction
                        WHERE x.locktype = 'transactionid' AND x.transactionid = p.transaction
                          AND x.pid IS NULL AND l.locktype = 'relation'
                          AND l.relation = ANY (%(oids)s::oid[]))
          FROM pg_prepared_xacts p WHERE p.database = current_database()
         ORDER BY 4 DESC, p.prepared LIMIT 5
        """,
        oids=scope.oids,
    )
    if not transactions:
        return Item(name, "pass", "None.")
    evidence = "; ".join(
        f"“{gid}” of {owner}, prepared {age:,} s ago"
        f"{', holds a lock on a table of the plan' if holds else ''}"
        for gid, owner, age, holds in transactions
    )
    in_the_way = bool(scope.strong_locks) and any(row[3] for row in transactions)
    return Item(
        name,
        "blocks" if in_the_way else "warns",
        evidence,
        "Resolve each with COMMIT PREPARED or ROLLBACK PREPARED.",
    )


def waiting_locks(connection: Connection, scope: Scope) -> Item:
    """Sessions that wait for a lock on the tables now."""
    name = "ungranted locks"
    waiting = rows(
        connection,
        """
        SELECT l.pid, l.mode, l.relation::regclass::text,
               coalesce(nullif(a.application_name, ''), 'unnamed application'),
               pg_blocking_pids(l.pid)
          FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE NOT l.granted AND l.locktype = 'relation' AND l.relation = ANY (%(oids)s::oid[])
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY l.waitstart NULLS LAST LIMIT 5
        """,
        oids=scope.oids,
    )
    if not waiting:
        return Item(name, "pass", f"No session is waiting for a lock on {scope.tables}.")
    evidence = "; ".join(
        f"PID {pid} ({application}) is waiting for {mode} on {table}, blocked by "
        f"{', '.join(f'PID {blocker}' for blocker in blockers) or 'nobody now'}"
        for pid, mode, table, application, blockers in waiting
    )
    return Item(name, "warns", evidence, "Wait for the lock queue to clear.")


def wraparound_vacuum(connection: Connection, scope: Scope) -> Item:
    """Anti-wraparound vacuums, which do not yield their lock."""
    name = "vacuum against wraparound"
    vacuums = rows(
        connection,
        """
        SELECT a.pid, min(l.relation::regclass::text),
               max(extract(epoch FROM clock_timestamp() - a.xact_start)::int)
          FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
         WHERE a.datname = current_database()
           AND a.query LIKE 'autovacuum:%%to prevent wraparound%%'
           AND l.locktype = 'relation' AND l.relation = ANY (%(oids)s::oid[])
         GROUP BY a.pid LIMIT 5
        """,
        oids=scope.oids,
    )
    if vacuums:
        evidence = "; ".join(
            f"autovacuum (PID {pid}) running on {table} for {age or 0:,} s"
            for pid, table, age in vacuums
        )
        return Item(
            name,
            "blocks" if scope.strong_locks else "warns",
            evidence,
            "Wait until it finishes: it does not yield to DDL.",
        )
    hidden = rows(
        connection,
        "SELECT FROM pg_stat_activity WHERE query = '<insufficient privilege>'"
        " AND datname = current_database() AND usesysid IS NULL LIMIT 1",
    )
    if hidden:
        return Item(name, "unknown", "Autovacuum activity is not visible.", SEE_ALL)
    return Item(name, "pass", f"No anti-wraparound vacuum on {scope.tables}.")


def autovacuum(connection: Connection, scope: Scope) -> Item:
    """How soon an ordinary autovacuum of the tables yields to DDL, and who may decide that."""
    name = "autovacuum"
    row = connection.execute(
        sql.SQL("SELECT {}, current_setting('deadlock_timeout'), quote_ident(current_user)").format(
            ddl.may_interrupt_autovacuum(connection.info.server_version)
        )
    ).fetchone()
    assert row is not None
    may, deadlock_timeout, role = row
    if may:
        evidence = f"An autovacuum yields to Rollout's DDL after {ddl.DEADLOCK_TIMEOUT_MS} ms."
        return Item(name, "pass", evidence)
    evidence = (
        f"An autovacuum of {scope.tables} yields to DDL only after {deadlock_timeout} "
        "(deadlock_timeout). Meanwhile, the application waits too."
    )
    if connection.info.server_version < 150000:
        return Item(name, "info", evidence)
    return Item(
        name,
        "info",
        evidence,
        f"GRANT SET ON PARAMETER deadlock_timeout TO {role}: it then yields after "
        f"{ddl.DEADLOCK_TIMEOUT_MS} ms.",
    )
