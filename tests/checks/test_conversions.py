"""A Convert that could not run, or not be undone, is refused before anything is changed."""

from dataclasses import replace
from typing import Any

import pytest

from rollout import plan as r
from rollout.checks.plans import check_plan
from tests.schemas import plan_of, table

OFFER = table("offer", price="text", currency="text")
PRICE = r.Convert(
    table=OFFER,
    legacy=("price",),
    columns={"cents": r.Column("bigint")},
    forward={"cents": "{price}::numeric * 100"},
    backward={"price": "{cents} / 100.0"},
)


def refusals(
    *translations: r.Convert | r.Computed | r.Derived | r.Lookup,
) -> dict[str | None, list[str]]:
    """The messages of the checks, by their ids."""
    messages: dict[str | None, list[str]] = {}
    for error in check_plan(plan_of(*translations)):
        assert error.hint
        messages.setdefault(error.id, []).append(error.msg)
    return messages


def test_a_whole_conversion_is_accepted() -> None:
    assert refusals(PRICE) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"legacy": (), "backward": {}}, "at least one legacy column"),
        ({"backward": {}}, "backward does not say what 'price' is to hold again"),
        ({"backward": {"price": "'1.00'"}}, "backward does not read 'cents'"),
        (
            {"backward": {"price": "{cents} || {currncy}"}},
            "backward reads 'currncy', which does not exist",
        ),
        (
            {"backward": {"price": "coalesce({cents}::text, {price})"}},
            "backward reads 'price', which phase 4 drops",
        ),
        (
            {"backward": {"price": "{cents}", "currency": "'EUR'"}},
            "backward names the legacy column 'currency'",
        ),
        ({"forward": {}}, "forward does not say what 'cents' is to hold"),
        ({"forward": {"cents": "1"}}, "forward does not read 'price'"),
        ({"forward": {"cents": "{price}::int", "more": "1"}}, "names the new column 'more'"),
        ({"unconvertible": "null"}, "required=True makes NOT NULL"),
        ({"unconvertible": "ignore"}, "unconvertible is 'ignore'"),
        ({"table": replace(OFFER, key=("price",))}, "'price' is part of the primary key"),
        (
            {"keeps_name": True, "table": table("offer", price="text", price_legacy="text")},
            "calls the legacy column 'price_legacy' after the cutover, which is taken",
        ),
        (
            {
                "keeps_name": True,
                "legacy": ("price", "currency"),
                "backward": {"price": "{cents}", "currency": "{cents}"},
                "forward": {"cents": "{price}::int + {currency}::int"},
            },
            "keeps_name needs one legacy column and one new column",
        ),
    ],
)
def test_a_conversion_that_leaves_something_open_is_e022(
    change: dict[str, Any], problem: str
) -> None:
    messages = refusals(replace(PRICE, **change))["rollout.E022"]
    assert any(problem in message for message in messages), messages


def test_an_expression_over_a_column_that_is_not_declared_is_e002() -> None:
    assert "rollout.E002" in refusals(replace(PRICE, forward={"cents": "{price}::int * {rate}"}))


@pytest.mark.parametrize(
    "other",
    [
        r.Lookup(table=OFFER, legacy="price", column="price_id", lookup_table="prices"),
        r.Derived(
            table=OFFER,
            column="is_free",
            type="boolean",
            expression="{price} = '0'",
            back={"price": "CASE WHEN {is_free} THEN '0' END"},
        ),
        replace(
            PRICE,
            columns={"whole": r.Column("integer")},
            forward={"whole": "{price}::int"},
            backward={"price": "{whole}"},
        ),
    ],
    ids=["lookup", "derived", "convert"],
)
def test_a_legacy_column_of_two_translations_is_e022(
    other: r.Convert | r.Derived | r.Lookup,
) -> None:
    messages = refusals(PRICE, other)["rollout.E022"]
    assert any("another translation is of the legacy column 'price' too" in m for m in messages)


def test_two_translations_onto_one_new_column_are_e013() -> None:
    onto = r.Derived(table=OFFER, column="cents", type="bigint", expression="1", writable=False)
    assert "rollout.E013" in refusals(PRICE, onto)


def test_a_conversion_that_is_dropped_without_an_archive_is_e036() -> None:
    plan = plan_of(PRICE)
    without = tuple(s for s in plan.phases[4].steps if not isinstance(s, r.ArchiveLegacy))
    phases = (*plan.phases[:4], replace(plan.phases[4], steps=without))
    errors = check_plan(replace(plan, phases=phases))
    assert {error.id for error in errors} == {"rollout.E036"}


def test_a_kept_name_without_a_cutover_or_with_a_function_that_reads_it_is_e022() -> None:
    kept = replace(PRICE, keeps_name=True)
    computed = r.Computed(
        table=OFFER,
        columns={"words": r.Column("text")},
        reads=("price",),
        function="tests.engine.things.lengths",
    )
    messages = refusals(kept, computed)["rollout.E022"]
    assert any("reads 'price', which has another name after" in m for m in messages), messages
    plan = plan_of(kept)
    without = tuple(s for s in plan.phases[3].steps if not isinstance(s, r.CutOver))
    phases = (*plan.phases[:3], replace(plan.phases[3], steps=without), plan.phases[4])
    errors = check_plan(replace(plan, phases=phases))
    assert any("keeps_name needs a CutOver of offer" in error.msg for error in errors)


def test_a_widen_key_of_no_narrow_column_is_e022() -> None:
    wide = table("ticket", parent_id="bigint")
    key = r.WidenKey(table=wide, references=((wide, "parent_id"), (wide, "other_id")))
    refused = "\n".join(refusals(*key.translations)["rollout.E022"])
    for words in (
        "ticket.parent_id is invalid: the table declares it as bigint",
        "ticket.other_id is invalid: the table declares no such column",
        "ticket.id is invalid: the table declares it as bigint",
    ):
        assert f"The WidenKey of {words}" in refused


@pytest.mark.parametrize("expression", ["{price", "{}", "{price!r}::numeric", "'{\"a\": 1}'"])
def test_an_expression_that_cannot_be_read_is_e073_whichever_way_it_leads(expression: str) -> None:
    sides: list[dict[str, Any]] = [
        {"forward": {"cents": expression}},
        {"backward": {"price": expression}},
    ]
    for side in sides:
        (message,) = refusals(replace(PRICE, **side))["rollout.E073"]
        assert message.startswith("The translation of offer.cents has an expression that ")
