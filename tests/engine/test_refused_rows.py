"""Rows that an expression refuses are looked for where a few blocks raise, or one by one."""

from dataclasses import replace

import pytest

from rollout.engine import refused_rows
from rollout.engine.batches import Range, places
from rollout.engine.lanes import Lane
from rollout.engine.refused_rows import RefusedRows
from rollout.engine.target import Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill
from tests.engine.actions import claimed, do_step, new_job
from tests.engine.test_careful_batches import MANY
from tests.plan.test_conversions import CENTS, NAMES, OFFER, OFFERS, PRICE
from tests.schemas import MakeScenario, Scenario, plan_of

STRIPES = 2
KEYS = [["7"], ["8"], ["77"], ["78"], ["777"], ["778"], ["2777"]]


@pytest.fixture
def offers(scenario: MakeScenario, newest: Target, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setattr(refused_rows, "PART_BLOCKS", 2)
    made = scenario(OFFERS + MANY, CENTS)
    made.carry_out(0, 1)
    do_step(made.target, made.connection, made.plan, 2, made.plan.phases[2].steps[0])
    return made


@pytest.fixture
def careful(offers: Scenario) -> Fill:
    return fill(offers.plan, OFFER).guarded


@pytest.fixture
def lane(offers: Scenario, careful: Fill) -> Lane:
    job, _ = new_job(offers.connection, careful)
    return claimed(offers.connection, job)


def keys_of(offers: Scenario, refused: RefusedRows, careful: Fill, lane: Lane) -> list[list[str]]:
    """The keys of the refused rows of a range's stripes."""
    keys = [
        key
        for stripe in range(STRIPES)
        for of_stripe in [replace(lane, stripe=stripe)]
        for _, key, _ in refused.of(
            *(offers.connection, careful, of_stripe, lane.end_block),
            Range.of(of_stripe, lane.end_block, STRIPES),
        )
    ]
    return sorted(keys, key=lambda key: int(key[0]))


def test_the_rows_of_a_range_are_those_of_its_parts(
    offers: Scenario, careful: Fill, lane: Lane
) -> None:
    assert careful.raises is not None
    assert keys_of(offers, RefusedRows(), careful, lane) == KEYS
    assert keys_of(offers, RefusedRows(), replace(careful, raises=None), lane) == KEYS


def test_no_row_is_asked_where_none_raises_and_the_parts_are_looked_for_once(
    offers: Scenario, careful: Fill, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, asked = [], []
    parts = refused_rows._parts

    def counted_parts(*of: object) -> list[tuple[int, int]]:
        looked.append(of)
        return parts(*of)  # type: ignore[arg-type]

    def counted_places(*of: object) -> list[tuple[object, ...]]:
        asked.append(of)
        return places(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(refused_rows, "_parts", counted_parts)
    monkeypatch.setattr(refused_rows, "places", counted_places)
    refused = RefusedRows()
    keys_of(offers, refused, careful, lane)
    assert len(looked) == 1
    assert 0 < len(asked) <= STRIPES * len(KEYS)
    offers.application("UPDATE offer SET price = '1.00' WHERE price IN ('n/a', 'free')")
    looked.clear()
    asked.clear()
    assert keys_of(offers, RefusedRows(), careful, lane) == []
    assert (len(looked), asked) == (1, [])


def test_every_row_is_asked_where_most_parts_have_a_row_that_raises(
    offers: Scenario, careful: Fill, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers.application("UPDATE offer SET price = 'n/a' WHERE id % 10 = 0")
    refused = RefusedRows()
    many = keys_of(offers, refused, careful, lane)
    assert len(many) > 100
    monkeypatch.setattr(refused_rows, "_parts", lambda *of: pytest.fail("looked for parts"))
    assert keys_of(offers, refused, careful, lane) == many


def test_a_value_that_is_too_long_for_its_column_is_asked_of_each_row(
    scenario: MakeScenario, newest: Target
) -> None:
    # No error of the expression tells it.
    assert fill(plan_of(NAMES), OFFER).guarded.raises is None
    assert fill(plan_of(PRICE), OFFER).guarded.raises is not None
