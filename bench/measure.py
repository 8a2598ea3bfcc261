"""What a loop leaves behind: WAL, growth, and the share of updates that stayed in their page."""

import time
from dataclasses import dataclass

from bench.server import Connection


@dataclass(frozen=True)
class Sizes:
    """Bytes of the table and of its indexes, and the position in the WAL."""

    table: int
    indexes: int
    wal: int


def sizes(connection: Connection) -> Sizes:
    row = connection.execute(
        "SELECT pg_relation_size('listings'), pg_indexes_size('listings'),"
        " (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    ).fetchone()
    assert row is not None
    return Sizes(*row)


def hot_share(connection: Connection) -> float | None:
    """Of the updates since the copy was made; None without any."""
    _await_last_session(connection)
    row = connection.execute(
        "SELECT n_tup_hot_upd::float / nullif(n_tup_upd, 0)"
        " FROM pg_stat_user_tables WHERE relname = 'listings'"
    ).fetchone()
    return row[0] if row else None


def _await_last_session(connection: Connection) -> None:
    """A session hands in what it counted when it ends, a moment after its client has left."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        others = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        if not others.rowcount:
            return
        time.sleep(0.05)
