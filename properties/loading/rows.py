"""Writes rows of text into the legacy columns, fast, and any of them twice without harm."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from django.db import connections
from psycopg import sql

from properties.models import LegacyProperty
from properties.shapes import current_shape

BATCH = 20_000


class Row(NamedTuple):
    """A row of ``properties``, each value as PostgreSQL reads it from text."""

    id: str
    title: str
    description: str
    address: str
    city: str
    postal_code: str
    price: str | None
    bedrooms: str | None
    bathrooms: str | None
    area: str | None
    latitude: str | None
    longitude: str | None
    type: str | None
    status: str | None
    created_at: str
    updated_at: str


class TextRetired(Exception):
    """Type and status are no longer written as text: the rollout has cut over.

    Listings can be loaded before the cutover, or after it has been rolled back.
    """

    def __str__(self) -> str:
        return " ".join((self.__doc__ or "").split())


def load(rows: Iterable[Row], *, using: str = "default") -> int:
    """Insert the rows whose id is new and return how many those were.

    Each batch is a transaction of its own, so that neither a cutover nor vacuum waits for a long
    load. Raises TextRetired, with the batches before it kept.
    """
    remaining = iter(rows)
    inserted = 0
    while True:
        with current_shape(using=using) as shape:
            if not shape.writes_text:
                raise TextRetired
            batch = list(islice(remaining, BATCH))
            if not batch:
                return inserted
            inserted += _insert(batch, using=using)


def analyze(*, using: str = "default") -> None:
    """Tell the planner what the table now holds."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(_table()))


def _table() -> sql.Identifier:
    return sql.Identifier(LegacyProperty._meta.db_table)


def _insert(batch: list[Row], *, using: str) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, Row._fields))
    # COPY has no ON CONFLICT: the rows arrive in a table of their own first.
    arrived = sql.Identifier("arrived_listings")
    names = {"arrived": arrived, "columns": columns, "table": _table()}
    with connections[using].cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {arrived} ON COMMIT DROP AS "
                "SELECT {columns} FROM {table} WITH NO DATA"
            ).format(**names)
        )
        with cursor.copy(sql.SQL("COPY {arrived} ({columns}) FROM STDIN").format(**names)) as copy:
            for row in batch:
                copy.write_row(row)
        cursor.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {arrived} "
                "ON CONFLICT (id) DO NOTHING"
            ).format(**names)
        )
        inserted: int = cursor.rowcount
        # A caller's own transaction may hold several batches.
        cursor.execute(sql.SQL("DROP TABLE {arrived}").format(**names))
    return inserted
