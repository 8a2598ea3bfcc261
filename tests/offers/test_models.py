"""The application reads a price as the plan converts it."""

import psycopg
import pytest

from offers.models import cents_of
from rollout.models import Rollout
from rollout.plan import Convert, plans
from tests.support import rollouts


def converted(rollout: Rollout, text: str) -> int | None:
    """What the plan makes of a text. Raises psycopg.Error."""
    (price,) = plans.get(rollout.plan).translations
    assert isinstance(price, Convert)
    forward = price.forward["price_cents"].replace("{price}", "%s::text")
    cents: int | None = rollouts.ask(f"SELECT ({forward})::bigint", text)
    return cents


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        *(("1250000", 125_000_000), ("$1,250,000.50", 125_000_050), (" 850,000 ", 85_000_000)),
        *(("0.005", 1), ("-0.005", -1), ("1e3", 100_000), ("", None), (" ", None)),
    ],
)
def test_a_number_means_the_same_to_the_application_and_the_plan(
    offer_prices: Rollout, text: str, cents: int | None
) -> None:
    assert (cents_of(text), converted(offer_prices, text)) == (cents, cents)


@pytest.mark.parametrize("text", ["on request", "1.2m", "1.2.3", "NaN", "Infinity"])
def test_a_text_that_is_no_number_means_none_to_the_application_and_does_not_convert(
    offer_prices: Rollout, text: str
) -> None:
    assert cents_of(text) is None
    with pytest.raises((psycopg.DataError, psycopg.NotSupportedError)):
        converted(offer_prices, text)
