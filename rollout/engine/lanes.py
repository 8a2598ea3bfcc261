"""Lanes: block ranges of a table that workers hold, and counters that commit with the data.

A table is cut into lanes of about ``LANE_BLOCKS``, each partition for itself, and every worker
takes the next free one, so workers can come and go while a job runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from rollout.engine.lane_totals import Totals
from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.table import Named, Table

LEASE_SECONDS = 10
LANE_BLOCKS = 16_384
FIRST_RANGE_BLOCKS = 128
# The age of a row version is known from where its reader's transaction began: a version that is
# newer still has a small negative age, one that was frozen 2**31 transactions ago a large one.
_NEWER_THAN_ITS_READER = 1_000_000
_LOWEST_NORMAL_XID = 3
# In the place of a transaction id: an earlier pass met every row that was there.
_BEFORE_ALL = -1


@dataclass(frozen=True)
class Leaf(Named):
    """A relation that holds rows: the table itself, or one of its partitions.

    ``rows_per_block`` is what the statistics say; None if there are none.
    """

    schema: str
    name: str
    blocks: int
    rows_per_block: float | None = None


@dataclass(frozen=True)
class Lane:
    """A worker's hold on a block range: where it is, and the token that fences off all others.

    ``since`` and ``running`` are transaction ids, of 32 bits: the first that had not begun when the
    job began, and those that were running then. ``counting``: what is met is counted as scanned.
    A job that is done again counts nothing that its first time has counted. ``stripe_rows``: the
    rows of each stripe of the range under way that count as scanned once that stripe is done.
    """

    job: int
    number: int
    token: int
    schema: str
    relation: str
    end_block: int
    next_block: int
    range_end: int
    range_blocks: int
    stripe: int
    since: int | None = None
    running: Sequence[int] = ()
    counting: bool = False
    stripe_rows: Sequence[int] = ()

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    @property
    def written_since(self) -> sql.Composable:
        """SQL condition: row ``t`` was written after the job began, by whomever.

        A version from before has not moved since, so that it is met exactly once. What a
        transaction wrote that was running at the beginning counts as written since.
        """
        if self.since is None:
            return sql.SQL("false")
        if self.since == _BEFORE_ALL:
            return sql.SQL("true")
        newer = sql.SQL("age(t.xmin) BETWEEN {} AND (SELECT age({}::xid))").format(
            sql.Literal(-_NEWER_THAN_ITS_READER),
            sql.Literal(str(max(self.since, _LOWEST_NORMAL_XID))),
        )
        if not self.running:
            return sql.SQL("({})").format(newer)
        return sql.SQL("({} OR t.xmin = ANY ({}::xid[]))").format(
            newer, sql.Literal([str(xid) for xid in self.running])
        )


def leaves(connection: Connection, table: Table) -> list[Leaf]:
    """The relations that hold a table's rows, with their sizes in blocks, now."""
    rows = connection.execute(
        sql.SQL(
            "SELECT n.nspname, c.relname,"
            " pg_relation_size(c.oid) / current_setting('block_size')::int,"
            " CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples / c.relpages END"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND (c.oid = {0}"
            "   OR c.oid IN (SELECT relid FROM pg_partition_tree({0}) WHERE isleaf))"
            " ORDER BY 1, 2"
        ).format(table.regclass)
    ).fetchall()
    return [Leaf(*row) for row in rows]


def create(
    connection: Connection,
    job: int,
    table: Table,
    *,
    named: sql.Composable | None = None,
    range_blocks: int | None = None,
    before: Totals | None = None,
) -> None:
    """Cut the table into lanes. Doing it twice changes nothing.

    With ``named``, a condition on row ``t`` that few rows meet, the lanes are those rows' blocks.
    ``range_blocks`` is the size of the first batches, until their duration says more. ``before``
    are the totals of a finished job that runs again: what is wrong now was written since, and the
    lanes' counters continue from there.
    """
    with connection.transaction():
        if connection.execute("SELECT FROM rollout.lanes WHERE job = %s", [job]).rowcount:
            return
        beginning = _now(connection)
        # Read after that, so that every row version from before is within them.
        ranges = _ranges(connection, table, named)
        if before is not None:
            beginning = (_BEFORE_ALL, [])
        _cut(connection, job, ranges, 0, range_blocks or FIRST_RANGE_BLOCKS, beginning)
        if before is not None:
            _go_on_from(connection, job, before)


def _go_on_from(connection: Connection, job: int, before: Totals) -> None:
    """Have the lanes of a job count nothing that was counted before, and the first one keep it."""
    connection.execute(
        "UPDATE rollout.lanes SET counting = false, round = %s WHERE job = %s", [before.round, job]
    )
    connection.execute(
        "UPDATE rollout.lanes SET scanned = %s, updated = %s, quarantined = %s, rewritten = %s,"
        " working_seconds = %s WHERE job = %s AND lane = 0",
        [
            *(before.scanned, before.updated, before.quarantined, before.rewritten),
            *(before.working_seconds, job),
        ],
    )


# ``Lane.since`` and ``Lane.running``.
_Beginning = tuple[int, list[int]]


def _now(connection: Connection) -> _Beginning:
    # Snapshots name no subtransactions; each of them holds a lock on its id, though.
    row = connection.execute(
        "SELECT pg_snapshot_xmax(now.snapshot)::text::bigint & 4294967295, ARRAY("
        "  SELECT xid::text::bigint & 4294967295 FROM pg_snapshot_xip(now.snapshot) AS xid"
        "  UNION SELECT transactionid::text::bigint FROM pg_locks"
        "   WHERE locktype = 'transactionid' AND granted)"
        " FROM pg_current_snapshot() AS now (snapshot)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


# Schema and name of a relation, its first block and the end.
_Range = tuple[str, str, int, int]


def _ranges(connection: Connection, table: Table, named: sql.Composable | None) -> list[_Range]:
    """What the lanes of a job are to cover, at least one range, if an empty one."""
    if named is not None and (blocks := blocks_of(connection, table, named)):
        return blocks
    relations = leaves(connection, table)
    if named is None:
        return [lane for leaf in relations for lane in _ranges_of(leaf)]
    return [(leaf.schema, leaf.name, 0, 0) for leaf in relations[:1]]


def blocks_of(connection: Connection, table: Table, named: sql.Composable) -> list[_Range]:
    """The blocks that have a row ``t`` for which the condition holds."""
    return connection.execute(
        sql.SQL(
            "SELECT n.nspname, c.relname, b.block, b.block + 1 FROM ("
            "  SELECT DISTINCT t.tableoid, (t.ctid::text::point)[0]::bigint AS block"
            "  FROM {} AS t WHERE {}) AS b"
            " JOIN pg_class AS c ON c.oid = b.tableoid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY 1, 2, 3"
        ).format(table.identifier, named)
    ).fetchall()


def _ranges_of(leaf: Leaf) -> list[_Range]:
    return [
        (leaf.schema, leaf.name, first, min(first + LANE_BLOCKS, leaf.blocks))
        for first in range(0, max(leaf.blocks, 1), LANE_BLOCKS)
    ]


def _cut(
    connection: Connection,
    job: int,
    ranges: Sequence[_Range],
    number: int,
    range_blocks: int,
    beginning: _Beginning,
) -> None:
    """Make a lane of each range, numbered from ``number`` on."""
    for lane, (schema, name, first, end) in enumerate(ranges, number):
        connection.execute(
            "INSERT INTO rollout.lanes (job, lane, schema_name, relation, first_block,"
            " end_block, next_block, range_blocks, range_end, done, since, running)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                *(job, lane, schema, name, first, end, first),
                *(range_blocks, min(end, first + range_blocks), first >= end, *beginning),
            ],
        )


def another_round(
    connection: Connection, job: int, table: Table, *, named: sql.Composable | None = None
) -> None:
    """Send the lanes over the whole table once more, up to the blocks it has by now.

    What they meet is counted already, unless it is wrong. Partitions that the table has gained get
    lanes of their own; so do blocks to which rows of ``named`` have moved.
    """
    with connection.transaction():
        connection.execute(
            "UPDATE rollout.lanes SET next_block = first_block, stripe = 0, round = round + 1,"
            " stripe_rows = '{}', range_end = first_block, done = first_block >= end_block,"
            " counting = false"
            " WHERE job = %s AND done",
            [job],
        )
        new = (
            _grow(connection, job, leaves(connection, table))
            if named is None
            else _without_lane(connection, job, _ranges(connection, table, named))
        )
        last = connection.execute(
            "SELECT max(lane), max(round), max(range_blocks), max(since), max(running)"
            " FROM rollout.lanes WHERE job = %s",
            [job],
        ).fetchone()
        number, turn, range_blocks, *beginning = last or (None,) * 5
        if new:
            first = 0 if number is None else number + 1
            began = _now(connection) if number is None else (beginning[0], beginning[1])
            _cut(connection, job, new, first, range_blocks or 1, began)
            connection.execute(
                "UPDATE rollout.lanes SET round = %s WHERE job = %s AND lane >= %s",
                [turn or 1, job, first],
            )


def _grow(connection: Connection, job: int, present: Sequence[Leaf]) -> list[_Range]:
    """Let the last lane of each relation end where that ends now; the ranges of new relations."""
    new: list[_Range] = []
    for leaf in present:
        known = connection.execute(
            "UPDATE rollout.lanes SET end_block = greatest(end_block, %(blocks)s), done = false"
            " WHERE job = %(job)s AND schema_name = %(schema)s AND relation = %(name)s"
            " AND first_block = (SELECT max(first_block) FROM rollout.lanes WHERE"
            "  job = %(job)s AND schema_name = %(schema)s AND relation = %(name)s)",
            {"job": job, "blocks": leaf.blocks, "schema": leaf.schema, "name": leaf.name},
        ).rowcount
        if not known:
            new += _ranges_of(leaf)
    return new


def _without_lane(connection: Connection, job: int, ranges: Sequence[_Range]) -> list[_Range]:
    rows = connection.execute(
        "SELECT schema_name, relation, first_block, end_block FROM rollout.lanes WHERE job = %s",
        [job],
    ).fetchall()
    known = {tuple(row) for row in rows}
    return [block for block in ranges if block not in known]


def claim(connection: Connection, job: int, holder: str) -> Lane | None:
    """Take a lane that nobody holds, or whose holder let its lease run out; None if there is none.

    The new token makes every commit of the former holder impossible.
    """
    row = connection.execute(
        """
        UPDATE rollout.lanes SET token = token + 1, holder = %(holder)s,
               lease_until = now() + make_interval(secs => %(lease)s)
         WHERE job = %(job)s AND lane = (
               SELECT lane FROM rollout.lanes
                WHERE job = %(job)s AND NOT done AND (lease_until IS NULL
                      -- Of no lease, or of a clock that was set back since.
                      OR lease_until NOT BETWEEN now() AND now() + make_interval(secs => %(long)s))
                ORDER BY lane LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING job, lane, token, schema_name, relation, end_block, next_block, range_end,
                  range_blocks, stripe, since, running, counting, stripe_rows
        """,
        {"job": job, "holder": holder, "lease": LEASE_SECONDS, "long": 2 * LEASE_SECONDS},
    ).fetchone()
    if row is None:
        return None
    return Lane(*row)


def is_there(connection: Connection, lane: Lane) -> bool:
    """Whether the lane's relation still exists."""
    return fetch_bool(connection, facts.relation_exists(lane.identifier))


def keep(connection: Connection, lane: Lane) -> None:
    """Move the lease on without progress: while its worker rests or waits."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = now() + make_interval(secs => %s)"
        " WHERE job = %s AND lane = %s AND token = %s",
        [LEASE_SECONDS, lane.job, lane.number, lane.token],
    )


def advance(
    connection: Connection,
    lane: Lane,
    after: Lane,
    *,
    scanned: int,
    updated: int,
    quarantined: int,
    rewritten: int,
    seconds: float,
) -> bool:
    """Write the checkpoint of a batch, in its transaction; False when the lane is another's."""
    return bool(
        connection.execute(
            """
            UPDATE rollout.lanes SET next_block = %s, range_end = %s, range_blocks = %s,
                   stripe = %s, stripe_rows = %s, scanned = scanned + %s, updated = updated + %s,
                   quarantined = quarantined + %s, rewritten = rewritten + %s,
                   working_seconds = working_seconds + %s,
                   lease_until = now() + make_interval(secs => %s)
             WHERE job = %s AND lane = %s AND token = %s
            """,
            [
                *(after.next_block, after.range_end, after.range_blocks, after.stripe),
                list(after.stripe_rows),
                *(scanned, updated, quarantined, rewritten, seconds),
                *(LEASE_SECONDS, lane.job, lane.number, lane.token),
            ],
        ).rowcount
    )


def tally(connection: Connection, lane: Lane, *, exact: int, fingerprint: int) -> None:
    """Add what a batch of a proof found to the lane's own, in the batch's transaction."""
    connection.execute(
        "UPDATE rollout.lanes SET exact = exact + %s, fingerprint = fingerprint + %s"
        " WHERE job = %s AND lane = %s AND token = %s",
        [exact, fingerprint, lane.job, lane.number, lane.token],
    )


def finish(connection: Connection, lane: Lane) -> None:
    """Mark the end of a lane, durably: the journal hears of it next."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute(
            "UPDATE rollout.lanes SET done = true, lease_until = NULL, holder = ''"
            " WHERE job = %s AND lane = %s AND token = %s",
            [lane.job, lane.number, lane.token],
        )


def release(connection: Connection, lane: Lane) -> None:
    """Let go of a lane that is still this worker's."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = NULL, holder = ''"
        " WHERE job = %s AND lane = %s AND token = %s",
        [lane.job, lane.number, lane.token],
    )


def is_finished(connection: Connection, job: int) -> bool:
    """Whether every lane is done."""
    row = connection.execute(
        "SELECT bool_and(done) FROM rollout.lanes WHERE job = %s", [job]
    ).fetchone()
    return bool(row and row[0])


def forget(connection: Connection, job: int) -> None:
    """Remove the lanes of a job whose totals the journal has."""
    connection.execute("DELETE FROM rollout.lanes WHERE job = %s", [job])
