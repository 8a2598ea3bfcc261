"""What a batch does with the rows of a range: one UPDATE.

A row that the database refuses is found by halving the batch and put in quarantine; the others are
written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import psycopg
from psycopg import errors, sql

from rollout.engine import quarantine
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.actions import Fill

CONFLICTS = (
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.QueryCanceled,
    # A row that the batch waited for went to another partition.
    errors.SerializationFailure,
)
# Where a row is, its key, and whether it was written since: ctid, the key's texts, boolean.
Place = tuple[Any, ...]


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a batch: see ``lane_totals.Totals``.

    ``read`` are all rows that were read, counted before or not. ``quarantined`` is less
    than none where rows left the quarantine. ``refused`` holds those that came there and those that
    stayed. ``of_stripes``: read with a range's first stripe, what each stripe counts as scanned.
    """

    read: int = 0
    scanned: int = 0
    updated: int = 0
    rewritten: int = 0
    quarantined: int = 0
    refused: int = 0
    of_stripes: Sequence[int] = ()

    @property
    def written(self) -> int:
        return self.updated + self.rewritten

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            read=self.read + other.read,
            scanned=self.scanned + other.scanned,
            updated=self.updated + other.updated,
            rewritten=self.rewritten + other.rewritten,
            quarantined=self.quarantined + other.quarantined,
            refused=self.refused + other.refused,
            of_stripes=self.of_stripes or other.of_stripes,
        )


_NOTHING_COUNTED = sql.SQL("SELECT 0 AS read, ARRAY[]::bigint[] AS of_stripes").format()


def stripe_of(stripes: int) -> sql.Composed:
    """SQL of the stripe of row ``t``: each has the same number of the rows of every page."""
    return sql.SQL("(get_byte(tidsend(t.ctid), 5) & {})").format(sql.Literal(stripes - 1))


def _from_to(first: int, end: int) -> sql.Composed:
    """SQL condition: row ``t`` is in these blocks."""
    return sql.SQL("t.ctid >= {}::tid AND t.ctid < {}::tid").format(
        sql.Literal(f"({first},0)"), sql.Literal(f"({end},0)")
    )


@dataclass(frozen=True)
class Range:
    """The rows of a batch: those of one stripe in a block range. ``t`` names the row.

    A range's rows are counted with its first stripe, once for all its ``stripes``, or before it.
    """

    blocks: sql.Composable
    stripe: sql.Composable
    first: bool
    stripes: int = 1
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, lane: Lane, range_end: int, stripes: int) -> Self:
        return cls(
            blocks=_from_to(lane.next_block, range_end),
            stripe=sql.SQL("{} = {}").format(stripe_of(stripes), sql.Literal(lane.stripe)),
            first=lane.stripe == 0 and not lane.stripe_rows,
            stripes=stripes,
        )

    @property
    def condition(self) -> sql.Composed:
        others = sql.SQL("").format()
        if self.left_out:
            others = sql.SQL(" AND t.ctid <> ALL ({}::tid[])").format(
                sql.Literal(list(self.left_out))
            )
        return sql.SQL("{} AND {}{}").format(self.blocks, self.stripe, others)

    def within(self, first: int, end: int) -> Self:
        """The same in some of its blocks."""
        return replace(self, blocks=_from_to(first, end))

    def besides(self, places: list[str]) -> Self:
        """The same without the rows at those places."""
        return replace(self, left_out=tuple(places))

    def counted(self, lane: Lane) -> sql.Composed:
        """A query of how many rows were read, and how many of each stripe count as scanned."""
        if not self.first:
            return _NOTHING_COUNTED
        scanned: sql.Composable = sql.SQL("0")
        if lane.counting:
            scanned = sql.SQL("count(*) FILTER (WHERE NOT {})").format(lane.written_since)
        return sql.SQL(
            "SELECT coalesce(sum(c.read), 0)::bigint AS read,"
            " array_agg(coalesce(c.scanned, 0)::bigint ORDER BY s.stripe) AS of_stripes"
            " FROM generate_series(0, {}) AS s (stripe) LEFT JOIN ("
            "  SELECT {} AS stripe, count(*) AS read, {} AS scanned FROM {} AS t WHERE {}"
            "  GROUP BY 1) AS c USING (stripe)"
        ).format(
            sql.Literal(self.stripes - 1),
            stripe_of(self.stripes),
            scanned,
            lane.identifier,
            self.blocks,
        )


def update_rows(connection: Connection, fill: Fill, lane: Lane, rows: Range) -> Counts:
    """Write a batch with one UPDATE. Raises psycopg.Error, also for a single row's sake."""
    row = connection.execute(
        sql.SQL(
            "WITH written AS ({} RETURNING 1)"
            " SELECT c.read, c.of_stripes, (SELECT count(*) FROM written), {} FROM ({}) AS c"
        ).format(
            fill.update(rows.condition, relation=lane.identifier),
            _rewritten(fill, lane, rows.condition, sql.SQL("true")),
            rows.counted(lane),
        )
    ).fetchone()
    assert row is not None
    return _counts(*row)


def update_and_release(connection: Connection, fill: Fill, lane: Lane, rows: Range) -> Counts:
    """The same where rows that are written leave the quarantine."""
    if fill.keeps:
        return update_and_keep(connection, fill, lane, rows, releasing=True)
    row = connection.execute(
        sql.SQL(
            "WITH written AS ({} RETURNING {} AS key), {}"
            " SELECT c.read, c.of_stripes, (SELECT count(*) FROM written), {},"
            " (SELECT count(*) FROM absolved) FROM ({}) AS c"
        ).format(
            fill.update(rows.condition, relation=lane.identifier),
            quarantine.key_of(fill.table),
            _absolved(lane),
            # A row in quarantine was counted when it came there.
            _rewritten(fill, lane, rows.condition, quarantine.none_of(lane.job, fill.table)),
            rows.counted(lane),
        )
    ).fetchone()
    assert row is not None
    return _counts(*row)


def update_and_keep(
    connection: Connection, fill: Fill, lane: Lane, rows: Range, *, releasing: bool = False
) -> Counts:
    """The same for a pass that is to leave columns as they are; ``releasing`` from quarantine.

    What is read of a row is of the version that is written: nothing is locked before that.
    """
    row = connection.execute(
        sql.SQL(
            "WITH written AS ({} RETURNING {} AS key, met.since, {} AS kept){},"
            " counted AS (SELECT count(*) AS written, count(*) FILTER (WHERE {}) AS rewritten,"
            " coalesce(bool_and(kept), true) AS kept FROM written)"
            " SELECT counted.kept, c.read, c.of_stripes, counted.written, counted.rewritten, {}"
            " FROM ({}) AS c, counted"
        ).format(
            fill.update(rows.condition, relation=lane.identifier, since=lane.written_since),
            quarantine.key_of(fill.table) if releasing else sql.SQL("NULL::text[]"),
            fill.is_kept,
            sql.SQL(", {}").format(_absolved(lane)) if releasing else sql.SQL(""),
            # A row in quarantine was counted when it came there.
            sql.SQL("since AND key NOT IN (SELECT key FROM absolved)" if releasing else "since"),
            sql.SQL("(SELECT count(*) FROM absolved)" if releasing else "0"),
            rows.counted(lane),
        )
    ).fetchone()
    assert row is not None
    kept, *counts = row
    if not kept:
        # Rolled back with the batch, then searched for like a row that the database refuses.
        raise errors.TriggeredDataChangeViolation(
            f"The update must leave {', '.join(fill.keeps)} unchanged, but a trigger of the table "
            "changes them. Disable that trigger, then retry."
        )
    return _counts(*counts)


def _absolved(lane: Lane) -> sql.Composable:
    """A WITH item that lets the rows of ``written`` out of the quarantine: their keys."""
    return sql.SQL(
        "absolved AS (DELETE FROM rollout.quarantine AS q USING written AS w"
        " WHERE q.job = {} AND q.key = w.key RETURNING q.key)"
    ).format(sql.Literal(lane.job))


def _counts(
    read: int, of_stripes: list[int], written: int, rewritten: int, absolved: int = 0
) -> Counts:
    # Concurrent writers may have repaired some of the rows that were seen to be wrong.
    rewritten = min(rewritten, written)
    return Counts(
        read=read,
        of_stripes=of_stripes,
        updated=written - rewritten,
        rewritten=rewritten,
        quarantined=-absolved,
    )


def _rewritten(
    fill: Fill, lane: Lane, condition: sql.Composable, others: sql.Composable
) -> sql.Composable:
    """SQL of how many rows are about to be written that somebody wrote since the job began."""
    if lane.since is None:
        return sql.SQL("0")
    return sql.SQL("(SELECT count(*) FROM {} WHERE {})").format(
        sql.SQL(", ").join([sql.SQL("{} AS t").format(lane.identifier), *fill.joins_apart]),
        sql.SQL(" AND ").join(
            [condition, lane.written_since, *fill.matches, fill.wrong_apart, others]
        ),
    )


def counted(connection: Connection, lane: Lane, rows: Range) -> Counts:
    """How many rows of a batch were read, and how many of each stripe count as scanned."""
    row = connection.execute(rows.counted(lane)).fetchone()
    assert row is not None
    return Counts(read=row[0], of_stripes=row[1])


def settle(connection: Connection, lane: Lane, rows: Range) -> None:
    """Read a range once more when its last stripe is safely on disk.

    The first reader of a new row version sets a hint on its page that the transaction has
    committed. With page checksums the hint writes the whole page to the WAL, unless it was written
    since the last checkpoint: so it is set now rather than by a later reader.
    """
    connection.execute(
        sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(lane.identifier, rows.blocks)
    )


def wrong_rows(connection: Connection, fill: Fill, lane: Lane, rows: Range) -> list[Place]:
    """The rows of a batch that are not right; all of them where that cannot be asked of each."""
    try:
        with connection.transaction():
            return places(connection, fill, lane, rows, fill.wrong)
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise
    return places(connection, fill, lane, rows, sql.SQL("true"))


def places(
    connection: Connection, fill: Fill, lane: Lane, rows: Range, condition: sql.Composable
) -> list[Place]:
    """The rows of a batch that meet a condition, over a row and the joins."""
    return connection.execute(
        sql.SQL("SELECT t.ctid::text, {}, {} FROM {} AS t{} WHERE {} AND {}").format(
            quarantine.key_of(fill.table),
            lane.written_since,
            lane.identifier,
            fill.left_joins,
            rows.condition,
            condition,
        )
    ).fetchall()


def update_one_by_one(
    connection: Connection, fill: Fill, lane: Lane, places: list[Place]
) -> Counts:
    """Write rows in ever smaller parts, so that only those at fault stay behind.

    To be called in a transaction, with few rows: it holds them all until that ends.
    """
    # A deferred constraint must refuse its row, not the whole batch.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return _halve(connection, fill, lane, places)


def _halve(connection: Connection, fill: Fill, lane: Lane, places: list[Place]) -> Counts:
    if not places:
        return Counts()
    there = sql.Literal([place for place, *_ in places])
    rows = Range(
        blocks=sql.SQL("t.ctid = ANY ({}::tid[])").format(there),
        stripe=sql.SQL("true"),
        first=False,
    )
    try:
        with connection.transaction():
            return update_and_release(connection, fill, lane, rows)
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise
        if len(places) == 1:
            _, key, since = places[0]
            _spare(connection, fill, lane, rows)
            return put_aside(connection, lane, key, str(error), since=since)
    middle = len(places) // 2
    return _halve(connection, fill, lane, places[:middle]) + _halve(
        connection, fill, lane, places[middle:]
    )


def _spare(connection: Connection, fill: Fill, lane: Lane, rows: Range) -> None:
    """Write what a row that is put in quarantine has values for, where the database takes it."""
    if not fill.spared:
        return
    spared = replace(fill, assignments=fill.spared)
    try:
        with connection.transaction():
            connection.execute(spared.update(rows.condition, relation=lane.identifier))
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise


def put_aside(
    connection: Connection, lane: Lane, key: Sequence[str], reason: str, *, since: bool
) -> Counts:
    """Put a row in quarantine. One that was written since the job began is counted with that.

    Not in a later round: there it may have been counted when it was another.
    """
    new = int(quarantine.add(connection, lane.job, key, reason))
    return Counts(scanned=new if since and lane.counting else 0, quarantined=new, refused=1)
