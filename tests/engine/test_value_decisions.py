"""What people decide about values that do not convert: triggers, fill, audit and way back."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from rollout.engine.value_decisions import (
    CannotDecideValues,
    Undecided,
    decide_values,
    unconvertible_values,
    undecided_values,
)
from tests.plan.test_conversions import DOC, LEGACY, NAMES, NOTE, OFFERS, PRICE
from tests.schemas import MakeScenario, Scenario, plan_of


def decide(offers: Scenario, conversion: r.Convert, **decisions: Mapping[str, str | None]) -> None:
    """Decide about texts of the conversion's one legacy column."""
    sources = {json.dumps([text.replace("_", " ")]): d for text, d in decisions.items()}
    decide_values(offers.connection, offers.plan, conversion, sources, reviewer="lena")


def test_people_decide_what_values_that_do_not_convert_become(
    scenario: MakeScenario, newest: Target
) -> None:
    asking = replace(PRICE, unconvertible="quarantine")
    spoilt = "UPDATE offer SET price = 'on request', note = 'n' WHERE id IN (7, 8);"
    offers = scenario(
        OFFERS + spoilt + "UPDATE offer SET price = 'free' WHERE id = 10;",
        plan_of(asking, NAMES, NOTE),
    )
    before = offers.application(LEGACY)
    listed = unconvertible_values(offers.connection, offers.plan, asking)
    assert [(v.text, v.rows, v.examples) for v in listed] == [
        ("on request", 2, ("7", "8")),
        ("free", 1, ("10",)),
    ]
    decide(offers, asking, free={"price_cents": " 0 "})
    offers.carry_out(0, 1)
    with pytest.raises(AssertionError, match="undecided"):
        offers.carry_out(2)
    # What does not convert keeps no other column of its row from being filled.
    filled = "SELECT price_cents, last_name, note_id IS NULL FROM offer WHERE id IN (7, 10)"
    assert offers.application(filled) == [(None, "Last7", False), (0, "Last10", True)]
    assert undecided_values(offers.connection, offers.plan, asking) == Undecided(1, 2, "7")
    decide(offers, asking, on_request={"price_cents": None}, free={"price_cents": "0"})
    written = "INSERT INTO offer (price) VALUES ('{}') RETURNING price, price_cents"
    for text, cents in (("on request", None), ("free", 0), ("5", 500)):
        assert offers.application(written.format(text)) == [(text, cents)]
    assert offers.application(
        "UPDATE offer SET price_cents = 0 WHERE price = 'on request' AND id > 40 RETURNING price"
    ) == [("0.00",)]
    decide(offers, asking, free={"price_cents": "1"})
    assert offers.audit().categories["computed_differs"] == 2
    decide(offers, asking, free={"price_cents": "0"})
    offers.carry_out(2, 3)
    assert offers.audit().categories == {"ok": 13, "lossy": 28, "unconvertible": 2}
    assert offers.application(written.format("free")) == [("free", 0)]
    offers.carry_out(4)
    offers.take_back(4, 3, 2, 1, 0)
    assert [row for row in offers.application(LEGACY) if row[0] <= 40] == before


def test_a_number_that_the_new_type_does_not_have_is_decided_about_like_a_text(
    scenario: MakeScenario, newest: Target
) -> None:
    asking = replace(PRICE, unconvertible="quarantine")
    spoilt = "UPDATE offer SET price = 'NaN' WHERE id IN (7, 8);"
    offers = scenario(OFFERS + spoilt, plan_of(asking))
    before = offers.application(LEGACY)
    offers.carry_out(0, 1)
    with pytest.raises(AssertionError, match="undecided"):
        offers.carry_out(2)
    assert undecided_values(offers.connection, offers.plan, asking) == Undecided(1, 2, "7")
    decide(offers, asking, NaN={"price_cents": "0"})
    offers.carry_out(2, 3)
    assert offers.application("SELECT price_cents FROM offer WHERE id IN (7, 8)") == [(0,), (0,)]
    offers.carry_out(4)
    offers.take_back(4, 3, 2, 1, 0)
    assert offers.application(LEGACY) == before


def test_a_decision_is_tried_by_the_column_before_it_is_kept(
    scenario: MakeScenario, newest: Target
) -> None:
    body = r.Column("jsonb")
    asking = replace(NAMES, columns={**NAMES.columns, "first_name": r.Column("character(3)")})
    offers = scenario(OFFERS, plan_of(asking, replace(DOC, columns={"body": body})))
    names = {"first_name": "Jo", "last_name": "x" * 21}
    for decision, problem in (
        (names, "last_name is character varying(20): this value is too long. Enter a shorter one."),
        ({**names, "last_name": None}, "last_name becomes NOT NULL. Enter a value."),
        ({**names, "last_name": "a\x00"}, "last_name cannot contain NUL characters."),
    ):
        with pytest.raises(CannotDecideValues, match=re.escape(problem)):
            decide(offers, asking, name=decision)
    decide(offers, asking, name={"first_name": "Jo", "last_name": "Ek"})
    with pytest.raises(CannotDecideValues, match="body cannot hold this value: invalid input"):
        decide(offers, replace(DOC, columns={"body": body}), doc={"body": "{"})
    assert offers.application("SELECT decided FROM rollout.value_decisions") == [
        ({"first_name": "Jo", "last_name": "Ek"},)
    ]
