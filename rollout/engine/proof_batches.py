"""The batches of a proof: compare rows, and record those that differ."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.batches import Range
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.proofs import Proof

# Maximum of differing rows named; all are counted.
MAX_NAMED_ROWS = 100


@dataclass(frozen=True)
class Compared:
    """What a proof found in a batch. ``named`` are the first rows that differ, and how."""

    read: int
    scanned: int
    """Rows not written since the job began: each is met once."""
    exact: int
    differing: int
    fingerprint: int
    named: list[tuple[list[str], str]]


def compare_rows(connection: Connection, proof: Proof, lane: Lane, rows: Range) -> Compared:
    """Compare the rows of a batch, all of them as they are at one moment. Raises psycopg.Error."""
    try:
        with connection.transaction():
            return _compared(connection, proof, lane, rows)
    except psycopg.Error as error:
        if proof.careful is None or not quarantine.is_of_a_row(error):
            raise
    return _compared(connection, proof.guarded, lane, rows)


def _compared(connection: Connection, proof: Proof, lane: Lane, rows: Range) -> Compared:
    # What is recorded of all rows together is of rows that nobody writes.
    since = lane.written_since if proof.recorded is None else sql.SQL("false")
    row = connection.execute(
        sql.SQL(
            "WITH met AS MATERIALIZED ({})"
            " SELECT count(*), count(*) FILTER (WHERE NOT since),"
            " count(*) FILTER (WHERE exact AND NOT since AND differs IS NULL),"
            " count(differs), coalesce(sum(print), 0), (SELECT coalesce(jsonb_agg("
            "jsonb_build_array(key, differs)), '[]') FROM (SELECT key, differs FROM met"
            " WHERE differs IS NOT NULL ORDER BY key LIMIT {}) AS first)"
            " FROM met"
        ).format(
            proof.compared(rows.blocks, relation=lane.identifier, since=since),
            sql.Literal(MAX_NAMED_ROWS),
        )
    ).fetchone()
    assert row is not None
    read, scanned, exact, differing, fingerprint, named = row
    return Compared(
        read, scanned, exact, differing, int(fingerprint), [(key, how) for key, how in named]
    )


def name_differing(connection: Connection, lane: Lane, compared: Compared) -> None:
    """Record the first differing rows with the job, like rejected rows."""
    room = MAX_NAMED_ROWS - quarantine.count(connection, lane.job)
    for key, differs in compared.named[: max(0, room)]:
        quarantine.add(connection, lane.job, key, differs)
