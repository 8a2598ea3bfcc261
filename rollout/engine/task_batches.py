"""The batches of a task: a Python function works on rows in the transaction of the checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rollout.engine import batches, quarantine
from rollout.engine.batches import Counts, Range
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.csv_tasks import CsvTask
from rollout.plan.tasks import Task

# What a function answers: nothing, or for each row an exception if the row must be put aside.
TaskFunction = Callable[
    [Sequence[Mapping[str, Any]], Connection], Sequence[Exception | None] | None
]
# Rows that a function gets in one call: they are locked meanwhile, and a lease is short.
MAX_TASK_ROWS = 200


@dataclass(frozen=True)
class _Row:
    key: tuple[str, ...]
    since: bool
    values: Mapping[str, Any]


def run_task(
    connection: Connection, task: Task, function: TaskFunction, lane: Lane, rows: Range
) -> Counts:
    """Have the function work on a range's rows, in the caller's transaction.

    Raises psycopg.Error, and what the function raises, unless it is about a single row.
    """
    counts = batches.counted(connection, lane, rows)
    locked = connection.execute(
        sql.SQL("SELECT {}, {}, {} FROM {} AS t WHERE {} AND {} FOR NO KEY UPDATE OF t").format(
            quarantine.key_of(task.table),
            lane.written_since,
            sql.SQL(", ").join(sql.Identifier("t", column) for column in task.reads),
            lane.identifier,
            rows.condition,
            task.wrong,
        )
    ).fetchall()
    left = [
        _Row(tuple(key), since, dict(zip(task.reads, values, strict=True)))
        for key, since, *values in locked
    ]
    some_refused = quarantine.count(connection, lane.job) > 0
    for first in range(0, len(left), MAX_TASK_ROWS):
        batch = left[first : first + MAX_TASK_ROWS]
        reasons = _reasons(connection, function, batch)
        done = [row for row, reason in zip(batch, reasons, strict=True) if not reason]
        if isinstance(task, CsvTask) and done:
            connection.execute(task.mark(_are(task, done)))
        still = _still_left(connection, task, done)
        for row, reason in zip(batch, reasons, strict=True):
            if not reason and row.key in still:
                reason = f"The function returned, and the row still meets: {task.where}"
            if reason:
                counts += batches.put_aside(connection, lane, row.key, reason, since=row.since)
                continue
            absolved = int(some_refused and quarantine.release(connection, lane.job, row.key))
            again = int(row.since and not absolved)
            counts += Counts(updated=1 - again, rewritten=again, quarantined=-absolved)
    return counts


def _reasons(connection: Connection, function: TaskFunction, rows: list[_Row]) -> list[str]:
    """Why each row must be put aside, empty for those that are done.

    Rows that the database refuses are found by halves; what was done to them is taken back.
    """
    try:
        with connection.transaction():
            outcomes = function([row.values for row in rows], connection)
    except psycopg.Error as error:
        if not quarantine.is_of_a_row(error):
            raise
        if len(rows) == 1:
            return [str(error)]
        half = len(rows) // 2
        halves = (rows[:half], rows[half:])
        return [reason for part in halves for reason in _reasons(connection, function, part)]
    if outcomes is None:
        return [""] * len(rows)
    if len(outcomes) != len(rows):
        raise ValueError(f"The task returned {len(outcomes)} outcomes for {len(rows)} rows.")
    return ["" if o is None else f"{type(o).__name__}: {o}" for o in outcomes]


def _still_left(connection: Connection, task: Task, rows: list[_Row]) -> set[tuple[str, ...]]:
    """The keys of those rows that still meet the condition."""
    if not rows:
        return set()
    unfinished = connection.execute(
        sql.SQL("SELECT {} FROM {} AS t WHERE {} AND {}").format(
            quarantine.key_of(task.table), task.table.identifier, _are(task, rows), task.wrong
        )
    )
    return {tuple(key) for (key,) in unfinished}


def _are(task: Task, rows: list[_Row]) -> sql.Composed:
    """SQL condition: row ``t`` is one of these."""
    keys = sql.SQL(", ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row.key))) for row in rows
    )
    return sql.SQL("({}) IN ({})").format(task.table.key_of("t"), keys)
