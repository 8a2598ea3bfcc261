"""How many rows have each legacy text: counting a large table takes seconds, so it is kept."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.core.cache import cache
from django.utils import timezone

from rollout.console.live import kept_for
from rollout.engine import mapping
from rollout.engine.target import Connection
from rollout.models import Rollout
from rollout.plan.translations import Lookup

KEPT_SECONDS = 300
WORTH_KEEPING = 0.2
"""Seconds; what is counted faster is counted anew for each page."""


@dataclass(frozen=True)
class Counted:
    """``rows``: legacy text to number of rows; None where counting takes too long."""

    rows: dict[str, int] | None
    at: datetime
    kept: bool = False


def counted(
    connection: Connection, rollout: Rollout, lookup: Lookup, *, anew: bool = False
) -> Counted:
    key = f"rollout-counts-{rollout.pk}-{lookup.table.label}-{lookup.legacy}".replace(" ", "_")
    found = None if anew else cast(Counted | None, cache.get(key))
    if found is not None:
        return found
    began, at = time.monotonic(), timezone.now()
    rows = mapping.counts_of(connection, lookup, mapping.EVERY_TEXT)
    if rows is not None and time.monotonic() - began > WORTH_KEEPING:
        cache.set(key, Counted(rows, at, kept=True), kept_for(KEPT_SECONDS))
    return Counted(rows, at)
