from __future__ import annotations

from decimal import Decimal

import pytest

from properties.forms import PropertyForm, SearchForm
from properties.listings import Filters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "x" * 201),
        ("title", "nul\0"),
        ("description", "nul\0"),
        ("type", "nul\0"),
        ("type", "x" * 101),
        ("price", "cheap"),
        ("price", "-1"),
        ("price", "NaN"),
        ("price", "1e30"),
        ("price", "1.005"),
        ("bedrooms", "2.5"),
        ("bedrooms", "99999999999"),
        ("bathrooms", "1000"),
        ("area", "inf"),
        ("latitude", "90.1"),
        ("longitude", "nan"),
    ],
)
def test_a_bad_value_is_an_error_of_its_field(field: str, value: str) -> None:
    form = PropertyForm({"title": "A home"} | {field: value})
    assert list(form.errors) == [field]


def test_line_ends_are_kept_as_one_character() -> None:
    form = PropertyForm({"title": "A home", "description": "a\r\nb"})
    assert form.is_valid()
    assert form.values().get("description") == "a\nb"


def test_only_differences_from_the_shown_page_are_changes() -> None:
    shown = {"title": "A home", "price": "100.00", "type": "", "description": "a\r\nb"}
    sent = shown | {f"initial-{name}": value for name, value in shown.items()} | {"price": "90"}
    # Meanwhile someone else has changed the title.
    form = PropertyForm(sent, initial={"title": "Another title", "price": Decimal(100)})
    assert form.is_valid()
    assert form.changes() == {"price": Decimal(90)}


def test_a_search_that_asks_for_nothing_is_valid() -> None:
    form = SearchForm({})
    assert form.is_valid()
    assert form.filters() == Filters()


def test_prices_the_wrong_way_round_are_an_error() -> None:
    assert list(SearchForm({"price_from": "2", "price_to": "1"}).errors) == ["price_to"]
