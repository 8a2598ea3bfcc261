"""What every page of decisions does: filters, pages, and values that cannot be read."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from tests.console.journal import browser_of, reviewed, text_of
from tests.console.views.mapping_pages import (
    LIST,
    TYPES,
    values_in,
)

if TYPE_CHECKING:
    from rollout.models import Rollout


def test_after_phase_4_a_review_says_that_its_values_are_archived_and_nothing_fails(
    contracted: Rollout,
) -> None:
    viewer = browser_of("viewer")
    for page in (LIST, TYPES):
        text = text_of(viewer, page)
        assert ("legacy values are archived" in text) == (page == TYPES)
        assert "Couldn't load" not in text
        assert "does not exist" not in text, page
    assert "<h1>Mapping review: <code>properties.type</code></h1>" in text_of(viewer, TYPES)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("?show=x", "Invalid filters were ignored."),
        ("?why=x", "Invalid filters were ignored."),
        ("?order=x", "Unknown sort order"),
        ("?after=x", "Invalid page link"),
        ("?after=" + "9" * 40 + ".villa", "Invalid page link"),
    ],
)
def test_an_invalid_filter_in_the_address_is_named_and_the_values_are_shown(
    reviewer: Client, asked: str, says: str
) -> None:
    text = text_of(reviewer, TYPES + asked)
    assert says in text
    assert "Villa" in values_in(text)


def test_a_filter_that_no_value_matches_leads_back_to_all(reviewer: Client) -> None:
    text = text_of(reviewer, f"{TYPES}?q=nothing-like-it")
    assert f'No value matches. <a href="{TYPES}">Show all values</a>' in text


def number_in(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("order", ["most-rows", "fewest-rows", "a-to-z", "z-to-a"])
def test_every_value_is_on_one_page_whatever_the_order(
    reviewer: Client, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    from rollout.console import decision_pages

    def pages(size: int) -> list[str]:
        monkeypatch.setattr(decision_pages, "MAX_VALUES_ON_PAGE", size)
        texts = [text_of(reviewer, TYPES, order=order)]
        while following := re.search(r'rel="next" href="([^"]*)', texts[-1]):
            texts.append(text_of(reviewer, unescape(following[1])))
        return texts

    (whole,), parts = pages(100), pages(3)
    values = values_in(whole)
    assert [value for part in parts for value in values_in(part)] == values
    assert len(parts) == -(-len(values) // 3)
    texts = [value.casefold().replace("(empty string)", "") for value in values]
    rows = [
        number_in(n) for n in re.findall(r'<td class="number">([\d,]+)', whole.split("bulk")[0])
    ]
    expected = {
        "a-to-z": (texts, sorted(texts)),
        "z-to-a": (texts, sorted(texts, reverse=True)),
        "most-rows": (rows[: len(values)], sorted(rows[: len(values)], reverse=True)),
        "fewest-rows": (rows[: len(values)], sorted(rows[: len(values)])),
    }[order]
    assert expected[0] == expected[1]


def test_the_page_asks_the_journal_as_often_whatever_the_number_of_values(
    filled: Rollout, reviewer: Client, django_assert_max_num_queries: object
) -> None:
    for _ in range(5):
        reviewed(filled)
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        text_of(reviewer, TYPES)
