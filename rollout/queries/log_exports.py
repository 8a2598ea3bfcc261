"""Entries of the activity log as a streamed download."""

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from rollout.models import LogEntry

COLUMNS = (
    *("id", "at", "actor", "source", "plan", "environment", "phase", "event", "message", "data"),
    *("previous_hash", "hash"),
)
BATCH_SIZE = 1000


def rows_of(entries: QuerySet[LogEntry]) -> Iterator[dict[str, Any]]:
    """Entries by ``COLUMNS``, the oldest first, with all that their hashes cover."""
    for row in entries.order_by("pk").values(*COLUMNS).iterator(chunk_size=BATCH_SIZE):
        yield row | {"at": row["at"].isoformat(timespec="microseconds")}


def for_csv(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same with the data as JSON, in one cell."""
    return (row | {"data": json.dumps(row["data"], ensure_ascii=False)} for row in rows)


def as_json_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """One object a line."""
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
