"""The batches of columns that a Python function computes: its calls, and an UPDATE for each row.

A row that the function has no answer for, or that the database refuses, is put in quarantine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.batches import Counts, Range, put_aside
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.actions import Compute

# Rows that a function gets in one call: files may be slow, and a lease is short.
COMPUTE_BATCH_SIZE = 16
ComputeFunction = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any] | Exception]]


@dataclass(frozen=True)
class Computed:
    """What the function made of a range's rows, before any of it is written."""

    read: int
    scanned: int
    values: list[tuple[list[str], bool, str, Mapping[str, Any]]]
    """Key, whether it was written since, the text of what was read, columns to write."""
    failures: list[tuple[list[str], bool, str]]
    """Key, whether it was written since, the reason."""


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

    The function takes ``COMPUTE_BATCH_SIZE``; ``between`` is called before each time.
    """
    read_rows = connection.execute(
        sql.SQL("SELECT {}, {}, {}, {}, {} FROM {} AS t WHERE {}").format(
            quarantine.key_of(compute.table),
            lane.written_since,
            compute.wrong,
            compute.sources,
            sql.SQL(", ").join(sql.Identifier("t", column) for column in compute.reads),
            lane.identifier,
            rows.condition,
        )
    ).fetchall()
    unfilled = [row for row in read_rows if row[2]]
    scanned = sum(not row[1] for row in read_rows) if lane.counting else 0
    result = Computed(read=len(read_rows), scanned=scanned, values=[], failures=[])
    for first in range(0, len(unfilled), COMPUTE_BATCH_SIZE):
        between()
        batch = unfilled[first : first + COMPUTE_BATCH_SIZE]
        outcomes = function([dict(zip(compute.reads, row[4:], strict=True)) for row in batch])
        for (key, since, _, sources, *_), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                result.failures.append((key, since, f"{type(outcome).__name__}: {outcome}"))
            else:
                result.values.append((key, since, sources, outcome))
    return result


def write_computed(
    connection: Connection, compute: Compute, lane: Lane, computed: Computed
) -> Counts:
    """Write what was computed, except where a row's sources have changed meanwhile."""
    counts = Counts(read=computed.read, scanned=computed.scanned)
    statement = compute.update_one(lane.identifier)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    failures = list(computed.failures)
    some_refused = quarantine.count(connection, lane.job) > 0
    for key, since, sources, values in computed.values:
        parameters = [*(values[c] for c in compute.columns), *key, sources]
        try:
            with connection.transaction():
                written = connection.execute(statement, parameters).rowcount
                absolved = 0
                if written and some_refused:
                    absolved = int(quarantine.release(connection, lane.job, key))
            again = written if since and not absolved else 0
            counts += Counts(updated=written - again, rewritten=again, quarantined=-absolved)
        except psycopg.Error as error:
            if not quarantine.is_of_a_row(error):
                raise
            failures.append((key, since, str(error)))
    for key, since, reason in failures:
        counts += put_aside(connection, lane, key, reason, since=since)
    return counts
