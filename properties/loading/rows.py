"""Writes listings, fast, and any of them twice without harm."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from django.db import connections
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from properties.models import Property
from properties.shapes import CURRENCY, PLAN, Shape
from properties.transition.shapes import TextShape, current_shape, insert_texts
from rollout.lookups import resolver_sql

BATCH_SIZE = 20_000


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


def load(rows: Iterable[Row], *, using: str = "default") -> int:
    """Insert the rows whose id is new and return how many those were.

    Each batch is a transaction of its own, so that neither a cutover nor vacuum waits for a long
    load.
    """
    remaining = iter(rows)
    inserted = 0
    while True:
        with current_shape(using=using) as shape:
            batch = list(islice(remaining, BATCH_SIZE))
            if not batch:
                return inserted
            inserted += _insert(batch, shape)


def analyze(*, using: str = "default") -> None:
    """Tell the planner what the table now holds."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql.SQL("ANALYZE {}").format(_table()))


def _table() -> sql.Identifier:
    return sql.Identifier(Property._meta.db_table)


def _insert(batch: list[Row], shape: Shape) -> int:
    names = {
        # COPY has no ON CONFLICT: the rows arrive in a table of their own first.
        "arrived": sql.Identifier("arrived_listings"),
        "columns": sql.SQL(", ").join(map(sql.Identifier, Row._fields)),
        "plain": sql.SQL(", ").join(
            sql.Identifier(name) for name in Row._fields if name not in ("type", "status")
        ),
        "table": _table(),
    }
    with connections[shape.using].cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {arrived} ON COMMIT DROP AS"
                " SELECT {plain}, NULL::text AS type, NULL::text AS status,"
                " NULL::integer AS type_id, NULL::integer AS status_id FROM {table} WITH NO DATA"
            ).format(**names)
        )
        with cursor.copy(sql.SQL("COPY {arrived} ({columns}) FROM STDIN").format(**names)) as copy:
            for row in batch:
                copy.write_row(row)
        if isinstance(shape, TextShape):
            inserted = insert_texts(cursor, names)
        else:
            inserted = _insert_lookup_rows(cursor, shape, names)
        # A caller's own transaction may hold several batches.
        cursor.execute(sql.SQL("DROP TABLE {arrived}").format(**names))
    return inserted


def _insert_lookup_rows(
    cursor: CursorWrapper, shape: Shape, names: dict[str, sql.Composable]
) -> int:
    names |= {
        "type_of": resolver_sql(PLAN, "properties.type"),
        "status_of": resolver_sql(PLAN, "properties.status"),
    }
    # First, so that no lookup row is made for a listing that is there already.
    cursor.execute(
        sql.SQL("DELETE FROM {arrived} AS a USING {table} AS t WHERE t.id = a.id").format(**names)
    )
    # A statement of its own: the next one then sees the lookup rows that this one made.
    cursor.execute(
        sql.SQL(
            "UPDATE {arrived} SET type_id = {type_of} (type), status_id = {status_of} (status)"
        ).format(**names)
    )
    cursor.execute(
        sql.SQL(
            "INSERT INTO {table} ({plain}, property_type_id, property_status_id, currency,"
            " is_listed, published_at)"
            " SELECT {plain}, type_id, status_id, %(currency)s,"
            " coalesce(status_id = ANY (%(listed)s), false),"
            " CASE WHEN status_id = ANY (%(listed)s) THEN created_at END"
            " FROM {arrived} ON CONFLICT (id) DO NOTHING"
        ).format(**names),
        {"currency": CURRENCY, "listed": shape.listed_statuses()},
    )
    inserted: int = cursor.rowcount
    return inserted
