"""About how many listings there are of each type and status, by PostgreSQL's statistics.

Counting reads the whole table. From some size on a page would wait for that more than for the rest.
Phase 4 has the materialized view instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connections

from properties.text import normal_form_sql, shown_sql

# Rows. Grouping 300,000 takes as long as all else that the page does, ten million take seconds.
LARGE = 100_000

# A value that ANALYZE did not see among its sampled rows is left out.
_VALUES = f"""
WITH statistics AS (
  SELECT s.attname AS name, s.null_frac, s.most_common_vals::text::text[] AS texts,
         s.most_common_freqs AS shares, c.reltuples AS rows
    FROM pg_stats AS s
    JOIN pg_namespace AS n ON n.nspname = s.schemaname
    JOIN pg_class AS c ON c.relname = s.tablename AND c.relnamespace = n.oid
   WHERE c.oid = to_regclass('properties') AND c.reltuples >= %s AND s.attname = ANY (%s)
), value AS (
  SELECT name, v.text, v.share * rows AS rows
    FROM statistics, unnest(texts, shares) AS v (text, share)
   UNION ALL
  SELECT name, NULL, null_frac * rows FROM statistics WHERE null_frac > 0
)
SELECT name, text, {normal_form_sql("text")}, {shown_sql("text")}, round(rows)::bigint FROM value
"""  # noqa: S608


class Estimate(NamedTuple):
    """A value of a column, as it is compared and shown, and about how many rows have it."""

    text: str | None
    form: str
    label: str
    rows: int


def read(using: str, *columns: str) -> list[list[Estimate]] | None:
    """The values of each column. None for a table that is small, or was not analyzed yet."""
    with connections[using].cursor() as cursor:
        cursor.execute(_VALUES, [LARGE, list(columns)])
        rows = cursor.fetchall()
    values = [list(_of(column, rows)) for column in columns]
    return values if all(values) else None


def _of(column: str, rows: list[tuple[str, str | None, str, str, int]]) -> Iterator[Estimate]:
    for name, *value in rows:
        if name == column:
            yield Estimate(*value)  # type: ignore[arg-type]
