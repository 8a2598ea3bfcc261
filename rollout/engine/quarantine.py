"""Rows that the database refuses to write: set aside with the reason, so the rest continues."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import errors, sql

from rollout.engine.target import Connection, fetch_bool
from rollout.engine.typed_queries import Query, Rows
from rollout.plan.actions import Fill
from rollout.plan.errors import RolloutError
from rollout.plan.table import Table

# Classes of SQLSTATE that no row causes: connection, rights, conflicts, the server itself.
#
# A trigger may raise any other class, its author's own included.
NOT_OF_A_ROW = frozenset(
    {"08", "25", "26", "28", "40", "42", "53", "55", "57", "58", "72", "F0", "XX"}
)


class TooManyPoisonRows(RolloutError):
    """The database refused more rows than the plan's share; the message says what to check."""


@dataclass(frozen=True)
class PoisonRow:
    """A row in quarantine: its key's parts as text, and its last error."""

    key: tuple[str, ...]
    error: str
    attempts: int
    at: datetime


@dataclass(frozen=True)
class Poison:
    """The first rows in a job's quarantine, by key, and how many there are."""

    rows: list[PoisonRow]
    number: int


def is_of_a_row(error: psycopg.Error) -> bool:
    """Whether an error can come from a single row, so that the others are worth another try."""
    if error.sqlstate is None:
        # A value that cannot even be sent, a text with a NUL in it for instance.
        return isinstance(error, psycopg.DataError)
    if isinstance(error, errors.FeatureNotSupported):
        # As NaN to bigint; but that a cached plan does not fit any more is the session's affair.
        return error.diag.source_file != "plancache.c"
    return error.sqlstate[:2] not in NOT_OF_A_ROW


def key_of(table: Table) -> sql.Composed:
    """SQL of a row's key as an array of texts; the row is called ``t``."""
    return table.key_texts("t")


def is_row(table: Table, key: Sequence[str]) -> sql.Composed:
    """SQL condition: ``t`` is the row of a key's texts. The primary key's index serves it."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", column), sql.Literal(text))
        for column, text in zip(table.key, key, strict=True)
    )


def is_right(connection: Connection, fill: Fill, key: Sequence[str]) -> bool:
    """Whether a row has the values that a pass gives it, or is gone."""
    left = sql.SQL("NOT EXISTS (SELECT FROM {} AS t{} WHERE {} AND {})").format(
        fill.table.identifier, fill.left_joins, is_row(fill.table, key), fill.left_unfilled
    )
    try:
        with connection.transaction():
            return fetch_bool(connection, left)
    except psycopg.Error as error:
        if not is_of_a_row(error):
            raise
        return False


def add(connection: Connection, job: int, key: Sequence[str], error: str) -> bool:
    """Put a row in quarantine, or write down that it failed again; whether it is new there."""
    row = connection.execute(
        "INSERT INTO rollout.quarantine (job, key, error) VALUES (%s, %s, %s)"
        " ON CONFLICT (job, key) DO UPDATE SET error = excluded.error, at = now(),"
        " attempts = quarantine.attempts + 1 RETURNING attempts = 1",
        [job, list(key), error.replace("\x00", "")],
    ).fetchone()
    return bool(row and row[0])


def count(connection: Connection, job: int) -> int:
    row = connection.execute(
        "SELECT count(*) FROM rollout.quarantine WHERE job = %s", [job]
    ).fetchone()
    return int(row[0]) if row else 0


def rows(connection: Connection, job: int, *, limit: int | None = 100) -> list[PoisonRow]:
    """The rows in quarantine, by key; all of them without a limit."""
    return poison_of(job, limit=limit).ask(connection).rows


def poison_of(job: int, *, limit: int | None = 100) -> Query[Poison]:
    """The same, with how many there are."""
    query = sql.SQL(
        # A window function would carry every row along to count them.
        "SELECT key, error, attempts, at,"
        " (SELECT count(*) FROM rollout.quarantine WHERE job = {0}) AS number"
        " FROM rollout.quarantine WHERE job = {0} ORDER BY key LIMIT {1}"
    ).format(sql.Literal(job), sql.Literal(limit))
    return Query(query, _poison)


def _poison(rows: Rows) -> Poison:
    return Poison(
        [PoisonRow(tuple(row["key"]), row["error"], row["attempts"], row["at"]) for row in rows],
        rows[0]["number"] if rows else 0,
    )


def lock(connection: Connection, job: int, key: Sequence[str]) -> bool:
    """Keep others from trying a row of the quarantine until the transaction ends; whether it is
    still there."""
    return bool(
        connection.execute(
            "SELECT FROM rollout.quarantine WHERE job = %s AND key = %s FOR UPDATE",
            [job, list(key)],
        ).rowcount
    )


def release(connection: Connection, job: int, key: Sequence[str]) -> bool:
    """Take a row out of quarantine; whether it was there."""
    return bool(
        connection.execute(
            "DELETE FROM rollout.quarantine WHERE job = %s AND key = %s", [job, list(key)]
        ).rowcount
    )


def forget(connection: Connection, job: int) -> None:
    """Empty a job's quarantine."""
    connection.execute("DELETE FROM rollout.quarantine WHERE job = %s", [job])


def none_of(job: int, table: Table) -> sql.Composed:
    """SQL condition: row ``t`` is not in a job's quarantine."""
    return sql.SQL(
        "NOT EXISTS (SELECT FROM rollout.quarantine AS q WHERE q.job = {} AND q.key = {})"
    ).format(sql.Literal(job), key_of(table))


def refuse_too_many(connection: Connection, job: int, *, most: int) -> None:
    """Raises TooManyPoisonRows when more rows are in quarantine than that."""
    refused = count(connection, job)
    if refused > most:
        raise TooManyPoisonRows(
            f"{refused:,} rows rejected; the limit is {most:,}. Find the reasons on the job's "
            "page, fix the cause, then retry."
        )
