"""The rows of a search that come first, found fast however many rows match.

PostgreSQL goes through a table in the search's order until a page is full, or looks up every row
that matches and sorts them. It has to guess which is faster, and expects at least one row in some
thousands to have a text: in a large table it would read all rows for a text that hardly any has.
So the rows that are next in order are read first, then as many matching rows as are sorted fast.
Only where still more match does it go through the table.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet

# Rows next in order that are all read: a few milliseconds.
NEARBY = 1000
# Matching rows that are looked up and sorted. Where more match, a page of 20 is full after 20,000
# of ten million rows, which takes about as long.
FEW = 10_000


def first_matches(
    rows: QuerySet[Any], all_rows: QuerySet[Any], *, newest_first: bool, size: int
) -> list[Any]:
    """The first ``size`` of ``rows``, which are those of ``all_rows`` that match."""
    order = ("-created_at", "id") if newest_first else ("created_at", "-id")
    in_order = rows.order_by(*order)
    if rows is all_rows:
        return list(in_order[:size])
    moments = all_rows.order_by(order[0]).values_list("created_at", flat=True)
    end = next(iter(moments[NEARBY : NEARBY + 1]), None)
    if end is None:
        return list(in_order[:size])
    bound = "created_at__gte" if newest_first else "created_at__lte"
    nearby = list(in_order.filter(**{bound: end})[:size])
    if len(nearby) == size:
        return nearby
    keys = _first_of_few(rows, newest_first=newest_first, size=size)
    return list(in_order[:size] if keys is None else in_order.filter(pk__in=keys))


def _first_of_few(rows: QuerySet[Any], *, newest_first: bool, size: int) -> list[UUID] | None:
    """The keys of the first rows, if there are few; else None."""
    few = rows.order_by().values_list("created_at", "pk")[: FEW + 1]
    try:
        query, values = few.query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:
        return []
    order = "created_at DESC, id" if newest_first else "created_at, id DESC"
    with connections[rows.db].cursor() as cursor:
        cursor.execute(
            f"SELECT id, count(*) OVER () FROM ({query}) AS few (created_at, id)"  # noqa: S608  Django's own SQL
            f" ORDER BY {order} LIMIT %s",
            [*values, size],
        )
        keys = cursor.fetchall()
    return None if keys and keys[0][1] > FEW else [key for key, _ in keys]
