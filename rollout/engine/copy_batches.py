"""The batches of a copy: rows go into a table of the engine's own, each once."""

from psycopg import sql

from rollout.engine import lane_totals, lanes
from rollout.engine.batches import Counts, Range
from rollout.engine.control import Interrupted
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.copies import Copy

# Rows that may be left at the end, for the statement that looks for them to copy at once.
MAX_LATE_ROWS = 10_000

_PRINT = sql.SQL("hash_record_extended(copied.*, 0) AS print")
_SINCE = "rollout_since"


def copy_rows(connection: Connection, copy: Copy, lane: Lane, rows: Range) -> Counts:
    """Copy the rows of a batch, and add them to the lane's fingerprint. Raises psycopg.Error."""
    keys = sql.SQL(", ").join(map(sql.Identifier, copy.table.key))
    row = connection.execute(
        sql.SQL(
            "WITH met AS MATERIALIZED ({read}), written AS ({insert} RETURNING {returned}, {print})"
            " SELECT (SELECT count(*) FROM met), (SELECT count(*) FROM met WHERE NOT {since}),"
            " count(*), count(*) FILTER (WHERE {since}), coalesce(sum(print), 0)"
            " FROM written JOIN met USING ({keys})"
        ).format(
            read=copy.read(rows.blocks, relation=lane.identifier, **{_SINCE: lane.written_since}),
            insert=copy.insert(sql.SQL("SELECT {} FROM met").format(copy.names)),
            returned=sql.SQL(", ").join(sql.Identifier("copied", c) for c in copy.table.key),
            print=_PRINT,
            since=sql.Identifier("met", _SINCE),
            keys=keys,
        )
    ).fetchone()
    assert row is not None
    read, scanned, written, since, fingerprint = row
    lanes.tally(connection, lane, exact=written, fingerprint=int(fingerprint))
    return Counts(
        read=read,
        scanned=scanned if lane.counting else 0,
        updated=written - since,
        rewritten=since,
    )


def complete(connection: Connection, copy: Copy, job: int) -> bool:
    """Copy what the batches have not met, and write down the fingerprint of all; were that few?

    Raises Interrupted where somebody else has ended the job.

    A row that was written meanwhile may have moved to where a batch had been already. All that
    this statement sees are copied then; what is inserted later needs no place in the copy.
    """
    limited = sql.SQL("{} LIMIT {}").format(copy.read(copy.is_missing), sql.Literal(MAX_LATE_ROWS))
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL synchronous_commit = on")
        row = connection.execute(
            sql.SQL(
                "WITH written AS ({} RETURNING {})"
                " SELECT count(*), coalesce(sum(print), 0) FROM written"
            ).format(copy.insert(limited), _PRINT)
        ).fetchone()
        assert row is not None
        late, fingerprint = row
        tallied = connection.execute(
            "UPDATE rollout.lanes SET rewritten = rewritten + %(rows)s, exact = exact + %(rows)s,"
            " fingerprint = fingerprint + %(print)s WHERE job = %(job)s"
            " AND lane = (SELECT min(lane) FROM rollout.lanes WHERE job = %(job)s)",
            {"rows": late, "print": fingerprint, "job": job},
        )
        if not tallied.rowcount:
            raise Interrupted("Another worker has finished this job.")
        totals = lane_totals.totals(connection, job)
        connection.execute(
            sql.SQL("COMMENT ON TABLE {} IS {}").format(
                copy.into, sql.Literal(f"{totals.exact} rows, {totals.fingerprint}")
            )
        )
    return bool(late < MAX_LATE_ROWS)
