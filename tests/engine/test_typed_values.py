"""What people type as a new value: what is wrong with it, and what to type instead."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from rollout.engine.typed_values import UnfitValue, as_stored
from tests.plan.test_conversions import PRICE

NO_WHOLE = "price_cents cannot hold this value: “{}” is not a whole number, written as digits."
MEANT = "{} if you mean what a legacy value of “{}” becomes."


def refusal_of(target: Target, conversion: r.Convert, text: str) -> str:
    (column,) = conversion.columns
    with target.connect() as connection:
        try:
            as_stored(connection, conversion, column, text)
        except UnfitValue as error:
            return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("1,200,000", "Enter 1200000."),
        ("1.200.000", "Enter 1200000."),
        ("-1 200", "Enter -1200."),
        ("1\u202f200", "Enter 1200."),
        ("12.50", f"Enter {MEANT.format('1250', '12.50')}"),
        ("1,200.50", "Enter digits alone, in the unit of price_cents."),
        ("1,2", "Enter digits alone, in the unit of price_cents."),
        ("1.2m", "Enter digits alone, in the unit of price_cents."),
    ],
)
def test_a_number_that_people_write_otherwise_is_refused_with_what_to_type_instead(
    newest: Target, text: str, instead: str
) -> None:
    assert refusal_of(newest, PRICE, text) == f"{NO_WHOLE.format(text)} {instead}"


def test_a_text_that_converts_as_a_legacy_value_is_refused_with_what_it_would_become(
    newest: Target,
) -> None:
    typed = replace(
        PRICE, forward={"price_cents": "round(translate({price}, ',', '')::numeric * 100)"}
    )
    refused = refusal_of(newest, typed, "1,200,000")
    assert refused.endswith(f"Enter 1200000, or {MEANT.format('120000000', '1,200,000')}")


@pytest.mark.parametrize(
    ("type_", "text", "instead"),
    [
        ("numeric(10,2)", "1,200.50", "Enter 1200.50."),
        ("numeric", "1.200,50", "Enter 1200.50."),
        ("numeric", "much", "Enter digits with a point, in the unit of price_cents."),
        ("numeric(4,2)", "1200", "Enter a number closer to 0."),
        ("smallint", "99999", "Enter a number closer to 0."),
        ("date", "31/31/2026", "Enter it as 2026-01-31."),
        ("timestamp(3) with time zone", "soon", "Enter it as 2026-01-31 18:00+00."),
        ("boolean", "perhaps", "Enter true or false."),
        ("uuid", "1", "Enter another value."),
    ],
)
def test_a_value_of_another_kind_is_refused_with_how_values_of_the_type_are_written(
    newest: Target, type_: str, text: str, instead: str
) -> None:
    typed = replace(PRICE, columns={"price_cents": r.Column(type_)}, backward={})
    assert refusal_of(newest, typed, text).endswith(f". {instead}")
