"""What a step costs the server: the WAL written, and how much its tables grew."""

from dataclasses import dataclass

import psycopg

from rollout.engine.snapshot.contents import relations_of
from rollout.engine.target import Connection
from rollout.plan.plan import Plan


@dataclass(frozen=True)
class Measure:
    """Bytes: the position of the server's WAL, and the size of each table with its indexes."""

    wal: int
    sizes: dict[str, int]


def measure(connection: Connection, plan: Plan) -> Measure | None:
    """Measure the server now; None where it does not answer at once."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '50ms'")
            connection.execute("SET LOCAL statement_timeout = '1s'")
            row = connection.execute(
                "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
            ).fetchone()
            relations = relations_of(connection, plan)
            sizes = connection.execute(
                "SELECT oid::bigint, pg_total_relation_size(oid)  FROM unnest(%s::oid[]) AS oid",
                [[relation.oid for relation in relations if relation.kind != "p"]],
            ).fetchall()
    except psycopg.Error:
        return None
    labels = {relation.oid: relation.label for relation in relations}
    return Measure(int(row[0]) if row else 0, {labels[oid]: size or 0 for oid, size in sizes})
