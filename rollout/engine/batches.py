"""What a batch does with the rows of a range: one UPDATE, or a Python function and an UPDATE.

A row that the database refuses, or that the function has no answer for, is found by halving the
batch and put in quarantine; the others are written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.actions import Compute, Fill

ROWS_AT_ONCE = 16
"""So many rows a function is given in one call: files may be slow, and a lease is short."""

ComputeFunction = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any] | Exception]]


Place = tuple[Any, ...]
"""Where a row is, and its key: its ctid and its key's texts."""


@dataclass(frozen=True)
class Counts:
    """What became of the rows of a batch: scanned = updated + already right + quarantined.

    ``quarantined`` is less than none where rows left the quarantine. ``refused`` holds those that
    came there and those that stayed: they were counted when they came.
    """

    scanned: int = 0
    updated: int = 0
    quarantined: int = 0
    refused: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.scanned + other.scanned,
            self.updated + other.updated,
            self.quarantined + other.quarantined,
            self.refused + other.refused,
        )


@dataclass(frozen=True)
class Range:
    """The rows of a batch: those of one stripe in a block range. ``t`` names the row.

    A range's rows are counted as scanned with its first stripe, once for all its stripes.
    """

    blocks: sql.Composable
    stripe: sql.Composable
    first: bool

    @property
    def condition(self) -> sql.Composed:
        return sql.SQL("{} AND {}").format(self.blocks, self.stripe)

    def counted(self, lane: Lane) -> sql.Composable:
        """SQL of the number of rows that count as scanned with this batch."""
        if not self.first:
            return sql.SQL("0")
        return sql.SQL("(SELECT count(*) FROM {} AS t WHERE {})").format(
            lane.identifier, self.blocks
        )


def update_rows(
    connection: Connection, fill: Fill, lane: Lane, rows: Range, *, some_refused: bool
) -> Counts:
    """Write a batch with one UPDATE. Raises psycopg.Error, also for a single row's sake.

    With ``some_refused``, rows in quarantine that can be written by now leave it.
    """
    counted = rows.counted(lane)
    if some_refused:
        return _write(connection, fill, lane, rows.condition, counted)
    row = connection.execute(
        sql.SQL(
            "WITH written AS ({} RETURNING 1) SELECT {}, (SELECT count(*) FROM written)"
        ).format(fill.update(rows.condition, relation=lane.identifier), counted)
    ).fetchone()
    assert row is not None
    return Counts(scanned=row[0], updated=row[1])


def _write(
    connection: Connection,
    fill: Fill,
    lane: Lane,
    condition: sql.Composable,
    counted: sql.Composable,
) -> Counts:
    row = connection.execute(
        sql.SQL(
            "WITH written AS ({} RETURNING {} AS key),"
            " absolved AS (DELETE FROM rollout.quarantine AS q USING written AS w"
            " WHERE q.job = {} AND q.key = w.key RETURNING 1)"
            " SELECT {}, (SELECT count(*) FROM written), (SELECT count(*) FROM absolved)"
        ).format(
            fill.update(condition, relation=lane.identifier),
            quarantine.key_of(fill.table),
            sql.Literal(lane.job),
            counted,
        )
    ).fetchone()
    assert row is not None
    return Counts(scanned=row[0], updated=row[1], quarantined=-row[2])


def scanned(connection: Connection, lane: Lane, rows: Range) -> int:
    """The number of rows that count as scanned with a batch."""
    row = connection.execute(sql.SQL("SELECT {}").format(rows.counted(lane))).fetchone()
    assert row is not None
    return int(row[0])


def settle(connection: Connection, lane: Lane, rows: Range) -> None:
    """Read a range once more when its last stripe is safely on disk.

    The first reader of a new row version notes on its page that its transaction has committed.
    Where pages have checksums the note goes to the WAL with the whole page, unless the page went
    there since the last checkpoint: so the note had better be made now than by whoever comes later.
    """
    connection.execute(
        sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(lane.identifier, rows.blocks)
    )


def wrong_rows(connection: Connection, fill: Fill, lane: Lane, rows: Range) -> list[Place]:
    """The rows of a batch that are not right."""
    return connection.execute(
        sql.SQL("SELECT t.ctid::text, {} FROM {} AS t{} WHERE {} AND {}").format(
            quarantine.key_of(fill.table),
            lane.identifier,
            fill.left_joins,
            rows.condition,
            fill.wrong,
        )
    ).fetchall()


def update_one_by_one(
    connection: Connection, fill: Fill, lane: Lane, places: list[Place]
) -> Counts:
    """Write rows in ever smaller parts, so that only those at fault stay behind.

    To be called in a transaction, with few rows: it holds them all until that ends.
    """
    # What a deferred constraint has to say is to be said of its row, not of the whole batch.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return _halve(connection, fill, lane, places)


def _halve(connection: Connection, fill: Fill, lane: Lane, places: list[Place]) -> Counts:
    if not places:
        return Counts()
    condition = sql.SQL("t.ctid = ANY ({}::tid[])").format(
        sql.Literal([place for place, _ in places])
    )
    try:
        with connection.transaction():
            return _write(connection, fill, lane, condition, sql.SQL("0"))
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise
        if len(places) == 1:
            new = quarantine.put(connection, lane.job, places[0][1], str(error))
            return Counts(quarantined=int(new), refused=1)
    middle = len(places) // 2
    return _halve(connection, fill, lane, places[:middle]) + _halve(
        connection, fill, lane, places[middle:]
    )


@dataclass(frozen=True)
class Computed:
    """What the function made of a range's rows, before any of it is written."""

    scanned: int
    values: list[tuple[list[str], str, Mapping[str, Any]]]
    """Key, the text of what was read, columns to write."""
    failures: list[tuple[list[str], str]]


def compute_rows(
    connection: Connection,
    compute: Compute,
    function: ComputeFunction,
    lane: Lane,
    rows: Range,
    *,
    between: Callable[[], None] = lambda: None,
) -> Computed:
    """Read a range's unfilled rows and have the function compute them, in no transaction.

    The function takes ``ROWS_AT_ONCE``; ``between`` is called before each time.
    """
    found = connection.execute(
        sql.SQL("SELECT {}, {}, {}, {} FROM {} AS t WHERE {}").format(
            quarantine.key_of(compute.table),
            compute.wrong,
            compute.sources,
            sql.SQL(", ").join(sql.Identifier("t", column) for column in compute.reads),
            lane.identifier,
            rows.condition,
        )
    ).fetchall()
    unfilled = [row for row in found if row[1]]
    result = Computed(scanned=len(found), values=[], failures=[])
    for first in range(0, len(unfilled), ROWS_AT_ONCE):
        between()
        some = unfilled[first : first + ROWS_AT_ONCE]
        outcomes = function([dict(zip(compute.reads, row[3:], strict=True)) for row in some])
        for (key, _, sources, *_), outcome in zip(some, outcomes, strict=True):
            if isinstance(outcome, Exception):
                result.failures.append((key, f"{type(outcome).__name__}: {outcome}"))
            else:
                result.values.append((key, sources, outcome))
    return result


def write_computed(
    connection: Connection, compute: Compute, lane: Lane, computed: Computed
) -> Counts:
    """Write what was computed, except where a row's sources have changed meanwhile."""
    updated = quarantined = left = 0
    statement = compute.update_one(lane.identifier)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    failures = list(computed.failures)
    some_refused = quarantine.count(connection, lane.job) > 0
    for key, sources, values in computed.values:
        parameters = [*(values[c] for c in compute.columns), *key, sources]
        try:
            with connection.transaction():
                written = connection.execute(statement, parameters).rowcount
                if written and some_refused:
                    left += quarantine.absolve(connection, lane.job, key)
                updated += written
        except psycopg.Error as error:
            if not quarantine.is_of_a_row(error):
                raise
            failures.append((key, str(error)))
    for key, reason in failures:
        quarantined += quarantine.put(connection, lane.job, key, reason)
    refused = len(failures)
    # What is in quarantine, or was until now, was counted as scanned when it came there.
    scanned = computed.scanned - (refused - quarantined) - left
    return Counts(scanned, updated, quarantined - left, refused)
