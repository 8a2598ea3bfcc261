"""Reads that are offered: seen by nobody else, skipped beyond the capacity, never an error."""

from typing import TYPE_CHECKING

import pytest
from django.db import connection

from properties import catalog
from properties.listings import Filters
from properties.shapes import PLAN
from rollout import shadow
from rollout.gates.readers import reads_legacy
from rollout.models import (
    Rollout,
    ShadowTally,
)
from rollout.modes import Modes
from rollout.shadow import reads as reading

if TYPE_CHECKING:
    pass
from tests.shadow.shadowed_reads import Here, newest


def legacy_reads() -> int:
    """Statements that the gate takes for reads of a legacy column, since the last reset."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query FROM pg_stat_statements WHERE dbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        names = {"properties": ["type", "status"]}
        return sum(reads_legacy(query, names) for (query,) in cursor.fetchall())


def test_nobody_takes_a_shadow_read_for_a_reader_of_legacy_columns(
    shadowed: Rollout, here: Here
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW shared_preload_libraries")
        if "pg_stat_statements" not in cursor.fetchone()[0]:
            pytest.skip("the server does not load pg_stat_statements")
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    listing = newest()
    catalog.get_property(listing.id)
    catalog.search(Filters(text=listing.title))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")
    assert here.work_off() == {"same": 3}
    assert legacy_reads() == 0
    catalog.get_property(listing.id)
    assert legacy_reads() == 1


def test_reads_beyond_the_capacity_are_skipped_and_reported(shadowed: Rollout, here: Here) -> None:
    here.work_off()
    for _ in range(reading.MAX_WAITING + 7):
        shadow.offer(
            "look", plan=PLAN, table="properties", modes=Modes(write="both"), read=lambda m: {}
        )
    assert here.work_off() == {"same": reading.MAX_WAITING}
    assert sum(tally.skipped for tally in ShadowTally.objects.all()) == 7


def test_an_offer_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(offer: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr("rollout.shadow.reader.offer", breaks)
    shadow.offer("look", plan=PLAN, table="t", modes=Modes(write="both"), read=lambda m: {})
