"""Convert on tables with each kind of key: forward, back, and nothing of it remains."""

from dataclasses import replace

import pytest

from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.keyed_tables import KEYED, goes_there_and_back
from tests.plan.test_conversions import PRICE
from tests.schemas import MakeScenario, Scenario, plan_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KEYED)
def test_a_conversion_goes_forward_and_back_whatever_the_key_is(
    scenario: MakeScenario, server: Target, kind: str
) -> None:
    keyed = KEYED[kind]
    offers = scenario(keyed.sql, plan_of(replace(PRICE, table=keyed.table)))
    goes_there_and_back(offers, keyed, lambda: both_write(offers, keyed.quoted))


@pytest.mark.parametrize("kind", ["partitioned uuid", "composite"])
def test_a_name_that_is_kept_comes_back_whatever_the_key_is(
    scenario: MakeScenario, server: Target, kind: str
) -> None:
    keyed = KEYED[kind]
    kept = replace(PRICE, table=keyed.table, keeps_name=True)
    offers = scenario(keyed.sql, plan_of(kept))
    assert offers.check() == []
    name = keyed.quoted
    schema, before = schema_of(offers.target), offers.application(keyed.rows)
    offers.carry_out(0, 1, 2)
    both_write(offers, name)
    offers.carry_out(3)
    cents = f"UPDATE {name} SET price = 424242 WHERE price_legacy = 'free' RETURNING price_legacy"
    assert set(offers.application(cents)) == {("4242.42",)}
    text = f"UPDATE {name} SET price_legacy = 'free' WHERE price = 424242 RETURNING price"
    assert set(offers.application(text)) == {(None,)}
    offers.carry_out(4)
    assert offers.audit().mismatched == 0
    offers.take_back(4, 3)
    both_write(offers, name)
    offers.take_back(2, 1, 0)
    assert schema_of(offers.target) == schema
    assert offers.application(keyed.rows) == before


def both_write(offers: Scenario, name: str) -> None:
    """Each release writes rows of its own, the other side follows, and the text comes back."""
    cents = f"UPDATE {name} SET price_cents = 4200 WHERE price = 'free' RETURNING price"
    assert set(offers.application(cents)) == {("42.00",)}
    text = f"UPDATE {name} SET price = 'free' WHERE price = '42.00' RETURNING price_cents"
    assert set(offers.application(text)) == {(None,)}
