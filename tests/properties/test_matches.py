"""Searches of many, of few and of no rows: the same pages, however they are found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from properties import catalog, matches
from properties.listings import Filters, Page
from properties.transition.models import LegacyProperty
from tests.properties import shapes

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
PAGE = 3
# Rows that only a few statements of a small table meet, as if it were large.
LISTINGS = 4000
# The table is taken for one of five million rows whose pages are expensive to fetch.
AS_IF_LARGE = """
UPDATE pg_class SET reltuples = 5000000
 WHERE oid = 'properties'::regclass;
SET LOCAL random_page_cost = 100
"""
ROWS_READ = """
SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
 WHERE relid = 'properties'::regclass
"""


def listings(titles: list[str]) -> None:
    """One a day; two that were added at the same moment stand beside each other."""
    moments = [FIRST + timedelta(days=number - number % 2) for number in range(len(titles))]
    LegacyProperty.objects.bulk_create(
        LegacyProperty(title=title, type="Loft", created_at=moment, updated_at=moment)
        for title, moment in zip(titles, moments, strict=True)
    )


def all_pages(filters: Filters) -> list[Page]:
    """Forward to the last page, and back to the first."""
    pages = [catalog.search(filters, size=PAGE)]
    while pages[-1].next is not None:
        pages.append(catalog.search(filters, after=pages[-1].next, size=PAGE))
    while pages[-1].previous is not None:
        pages.append(catalog.search(filters, before=pages[-1].previous, size=PAGE))
    return pages


@pytest.mark.parametrize(
    "filters",
    [
        Filters(text="home"),
        Filters(text="rare"),
        Filters(text="nowhere"),
        Filters(type="Castle"),
        Filters(text="home", type="loft"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["legacy", "new"])
def test_few_and_many_matches_have_the_same_pages_as_a_small_table(
    db: None, monkeypatch: pytest.MonkeyPatch, name: shapes.ShapeName, filters: Filters
) -> None:
    listings(["A rare home" if number in {1, 9, 14} else "A home" for number in range(20)])
    shapes.expand()
    if name == "new":
        shapes.cut_over()
    expected = all_pages(filters)
    for nearby in (2, 5):
        monkeypatch.setattr(matches, "NEARBY", nearby)
        for few in (1, 7, 100):
            monkeypatch.setattr(matches, "FEW", few)
            assert all_pages(filters) == expected, (nearby, few)


@pytest.mark.parametrize("text", ["palace", "listing"], ids=["of no row", "of all rows"])
def test_a_text_is_looked_for_without_going_through_the_table(
    db: None, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    listings([f"Listing {number}" for number in range(LISTINGS)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE properties")
        cursor.execute(AS_IF_LARGE)
        monkeypatch.setattr(matches, "NEARBY", 100)
        cursor.execute(ROWS_READ)
        (before,) = cursor.fetchone()
        assert bool(catalog.search(Filters(text=text)).listings) == (text == "listing")
        cursor.execute(ROWS_READ)
        (after,) = cursor.fetchone()
    assert after - before < LISTINGS / 10
