"""The server and the way to it: version, rights, pooler, disk."""

import os
from datetime import timedelta
from pathlib import Path

from rollout.engine.preflight.item import Item, Scope, one_row, rows, size_text
from rollout.engine.target import Connection, Target
from rollout.plan.constraints import AddUnique
from rollout.plan.indexes import CreateIndex
from rollout.plan.names import SCHEMA

# The oldest major version on which every statement works.
MIN_VERSION = 14
# A replica further behind, in time or in bytes, warns.
MAX_LAG = timedelta(seconds=10)
MAX_LAG_BYTES = 64 * 1024**2
# Free disk must exceed the estimate by this factor.
SPARE_FACTOR = 1.1
DISK = "free disk"


def version(connection: Connection, scope: Scope) -> Item:
    """The oldest server on which every statement is known to work."""
    name = "server version"
    number = connection.info.server_version
    evidence = f"PostgreSQL {number // 10000}.{number % 10000}."
    if number < MIN_VERSION * 10000:
        return Item(
            name,
            "blocks",
            evidence,
            f"Requires PostgreSQL {MIN_VERSION} or later. Upgrade the server.",
        )
    return Item(name, "pass", evidence)


def encoding(connection: Connection, scope: Scope) -> Item:
    """A database that does not say what its bytes mean has no texts to compare."""
    name = "encoding"
    (encoding_name,) = one_row(connection, "SHOW server_encoding")
    if encoding_name == "SQL_ASCII":
        return Item(
            name,
            "blocks",
            "The database's encoding is SQL_ASCII, so the encoding of its text is unknown.",
            "Move it into a UTF8 database first: pg_dump with --encoding set to the actual "
            "encoding, then pg_restore.",
        )
    return Item(name, "pass", f"The database's encoding is {encoding_name}.")


def rights(connection: Connection, scope: Scope) -> Item:
    """Only a table's owner may alter it, and making tables needs a right on the schema."""
    name = "rights"
    role, database, not_owned, closed_schemas, may_not_create = one_row(
        connection,
        """
        SELECT current_user, current_database(),
               ARRAY(SELECT ARRAY[c.oid::regclass::text, pg_get_userbyid(c.relowner)]
                       FROM pg_class c
                      WHERE c.oid = ANY (%(oids)s::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE')
                      ORDER BY 1),
               ARRAY(SELECT n.nspname::text FROM pg_namespace n
                      WHERE n.nspname = ANY (%(schemas)s)
                        AND NOT has_schema_privilege(n.oid, 'CREATE')
                      ORDER BY 1),
               to_regnamespace(%(own)s) IS NULL
               AND NOT has_database_privilege(current_database(), 'CREATE')
        """,
        oids=scope.oids,
        schemas=sorted({table.schema for table in scope.plan.tables} | {SCHEMA}),
        own=SCHEMA,
    )
    lacking = [f"{role} does not own {table}; {owner} does" for table, owner in not_owned]
    lacking += [f"{role} lacks CREATE on schema {schema}" for schema in closed_schemas]
    if may_not_create:
        lacking.append(f"{role} cannot create schema {SCHEMA} in database {database}")
    if lacking:
        return Item(
            name,
            "blocks" if scope.statements else "warns",
            "; ".join(lacking),
            "Grant the missing privileges, or make the role a member of the owner.",
        )
    return Item(name, "pass", f"{role} has the required privileges on {scope.tables}.")


def writable(connection: Connection, scope: Scope) -> Item:
    """A standby takes no writes, whatever a session sets."""
    name = "writes"
    (standby, role) = one_row(connection, "SELECT pg_is_in_recovery(), current_user")
    if standby:
        return Item(
            name,
            "blocks",
            f"Sessions of {role} are read-only: the server is a standby.",
            "Set the environment's database to the address of the primary.",
        )
    return Item(name, "pass", f"Sessions of {role} can write.")


def row_security(connection: Connection, scope: Scope) -> Item:
    """What policies hide is not filled, not audited and not archived; then it is dropped."""
    name = "row security"
    hidden = rows(
        connection,
        """
        SELECT current_user, c.oid::regclass::text FROM pg_class c
         WHERE (c.oid = ANY (%(oids)s::oid[])
                OR c.relkind = 'r' AND c.relnamespace = to_regnamespace(%(own)s))
           AND row_security_active(c.oid)
         ORDER BY 2
        """,
        oids=scope.oids,
        own=SCHEMA,
    )
    if not hidden:
        return Item(name, "pass", f"No policy hides rows of {scope.tables}.")
    return Item(
        name,
        "blocks",
        f"Policies hide rows of {', '.join(table for _, table in hidden)} from {hidden[0][0]}.",
        "Give that role BYPASSRLS, or run ALTER TABLE … NO FORCE ROW LEVEL SECURITY on each table "
        "until the rollout is done.",
    )


def pooler(connection: Connection, scope: Scope, target: Target) -> Item:
    """Whether a pooler gives each transaction another session: settings do not hold then."""
    name = "direct connection"
    advice = "Use a direct connection or a session-mode pool."
    announced = connection.info.backend_pid
    (at_first,) = one_row(connection, "SELECT pg_backend_pid()")
    if announced == at_first:
        return Item(name, "pass", "Direct connection.")
    with target.connect() as other, other.transaction():
        # A pooler in transaction mode lends this session to the first client that asks.
        (borrowed,) = one_row(other, "SELECT pg_backend_pid()")
        (now,) = one_row(connection, "SELECT pg_backend_pid()")
    if borrowed == at_first or now != at_first:
        return Item(
            name,
            "blocks",
            "Connected through a transaction-mode pooler: session settings do not persist.",
            advice,
        )
    return Item(name, "unknown", "Connected through a pooler of unknown mode.", advice)


def replication(connection: Connection, scope: Scope) -> Item:
    """How far replicas are behind: what the phase writes comes on top of that."""
    name = "replication lag"
    replicas = rows(
        connection,
        """
        SELECT coalesce(nullif(application_name, ''), 'unnamed'), state, replay_lag,
               pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
          FROM pg_stat_replication ORDER BY 4 DESC NULLS FIRST
        """,
    )
    if not replicas:
        return Item(name, "pass", "No replicas.")
    if any(state is None for _, state, _, _ in replicas):
        advice = "Grant pg_read_all_stats to the rollout's role."
        return Item(name, "unknown", "Replication lag is not visible to this role.", advice)
    # A replica that has caught up reports no lag in time while nothing is written; nor does one
    # that has stopped.
    behind = [
        f"{replica} ({state}) lags by "
        f"{size_text(size or 0)}{f' and {lag.total_seconds():,.1f} s' if lag else ''}"
        for replica, state, lag, size in replicas
        if (lag or timedelta()) > MAX_LAG or (size or 0) > MAX_LAG_BYTES
    ]
    if behind:
        advice = "Wait for the replicas to catch up: the phase adds load."
        return Item(name, "warns", "; ".join(behind), advice)
    return Item(
        name, "pass", f"{len(replicas)} replica{'' if len(replicas) == 1 else 's'} in sync."
    )


def disk(connection: Connection, scope: Scope) -> Item:
    """The room that the phase needs, where the disk of the server can be seen from here."""
    need = _needed(connection, scope)
    if not need:
        return Item(DISK, "pass", "The phase needs almost no disk space.")
    return _room(connection, "The phase", need)


def room(connection: Connection, scope: Scope, *, copies: int) -> Item:
    """The disk space for ``copies`` of the plan's tables, where the server's disk can be seen."""
    tables = [table.identifier.as_string() for table in scope.plan.tables]
    return _room(
        connection, "The rehearsal", copies * sum(size_of(connection, table) for table in tables)
    )


def _room(connection: Connection, what: str, need: int) -> Item:
    name = DISK
    evidence = f"{what} needs about {size_text(need)} of disk space"
    free = _free(connection)
    if free is None:
        return Item(
            name,
            "info",
            f"{evidence}; free space is not visible from here.",
            "Check the free space on the server.",
        )
    evidence = f"{evidence}; {size_text(free)} free."
    if free < need * SPARE_FACTOR:
        return Item(name, "blocks", evidence, "Free up disk space.")
    return Item(name, "pass", evidence)


def _needed(connection: Connection, scope: Scope) -> int:
    """Bytes: what a pass rewrites at most, what a statement copies, what an index takes."""
    tables = {table.label: table for table in scope.plan.tables}
    need = 0
    for action in scope.passes:
        need += size_of(connection, action.table.identifier.as_string())
    for statement in scope.statements:
        if statement.text.startswith("CREATE TABLE") and statement.scans:
            table = tables.get(statement.locks[0].table)
            need += size_of(connection, table.identifier.as_string()) if table else 0
    for step in scope.plan.phases[scope.phase].steps:
        if isinstance(step, CreateIndex | AddUnique):
            need += _index_size(connection, step)
    return need


def size_of(connection: Connection, table: str) -> int:
    (size,) = one_row(
        connection,
        """
        SELECT coalesce(sum(pg_table_size(relid)), pg_table_size(to_regclass(%(table)s)), 0)::bigint
          FROM pg_partition_tree(to_regclass(%(table)s))
        """,
        table=table,
    )
    return int(size)


def _index_size(connection: Connection, step: CreateIndex | AddUnique) -> int:
    (size,) = one_row(
        connection,
        """
        SELECT (greatest(c.reltuples, 0) * (16 + coalesce((SELECT sum(s.avg_width)
                  FROM pg_stats s WHERE s.schemaname = %(schema)s AND s.tablename = %(table)s
                   AND s.attname = ANY (%(columns)s)), 8 * %(count)s)))::bigint
          FROM (SELECT) AS one_row
          LEFT JOIN pg_class c ON c.oid = to_regclass(%(name)s)
        """,
        schema=step.table.schema,
        table=step.table.name,
        columns=list(step.columns),
        count=len(step.columns),
        name=step.table.identifier.as_string(),
    )
    return int(size or 0)


def _free(connection: Connection) -> int | None:
    """Bytes free for the server's data; None where that is another machine's, or not ours to see.

    Only over a socket of this machine is the path that the server names a path of ours.
    """
    if not connection.info.host.startswith(("/", "@")):
        return None
    setting = rows(connection, "SELECT current_setting('data_directory', true)")
    directory = Path(setting[0][0] or "") if setting else Path()
    if not directory.is_absolute():
        return None
    try:
        state = os.statvfs(directory)
    except OSError:
        return None
    return state.f_bavail * state.f_frsize
