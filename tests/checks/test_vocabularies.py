"""A vocabulary whose values could not be told apart, or that nothing enforces, is refused."""

from dataclasses import replace
from typing import Any

import pytest

from rollout import plan as r
from rollout.checks.plans import check_plan
from tests.plan.test_vocabularies import CHECK, ENUM, TABLE, plan_of


def refusals(plan: r.Plan) -> list[str]:
    errors = check_plan(plan)
    assert all(error.hint for error in errors)
    return [error.msg for error in errors if error.id == "rollout.E074"]


LONG = "é" * 40
WIDE = replace(TABLE, columns={**TABLE.columns, "state": r.Column("text")})
NUMBER = replace(TABLE, columns={**TABLE.columns, "state": r.Column("integer")})


@pytest.mark.parametrize("vocabulary", [ENUM, CHECK], ids=["enum", "check"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"column": "mood"}, "the table declares no such column"),
        ({"table": NUMBER}, "declares it as integer, not as text"),
        ({"values": (), "synonyms": {}}, "values is empty"),
        ({"values": ("new ", "paid")}, "the value 'new ' begins or ends with white space"),
        ({"values": ("in  the post", "paid")}, "has more than a blank"),
        ({"values": ("x" * 21, "paid")}, "is too long for character varying(20)"),
        ({"values": ("new", "New", "paid")}, "2 values are 'new' but for their case"),
        ({"synonyms": {"payed": "payd"}}, "means 'payd', which is none of the values"),
        ({"synonyms": {" payed": "paid"}}, "the synonym ' payed' begins or ends"),
        ({"synonyms": {"NEW": "paid"}}, "the synonym 'NEW' is a value itself"),
        ({"synonyms": {"x": "new", "X": "paid"}}, "another synonym differs from 'x' only in case"),
    ],
)
def test_a_vocabulary_that_leaves_something_open_is_e074(
    vocabulary: r.ToEnum | r.ToCheck, change: dict[str, Any], problem: str
) -> None:
    messages = refusals(plan_of(replace(vocabulary, **change)))
    kind = type(vocabulary).__name__
    assert any(problem in message for message in messages), messages
    assert all(message.startswith(f"The {kind} of order.") for message in messages)


@pytest.mark.parametrize("name", ["state", "Order_state", "order state", "session_user", "o__s"])
def test_a_type_whose_name_may_be_a_word_of_sql_is_e074(name: str) -> None:
    (message,) = refusals(plan_of(replace(ENUM, type=name)))
    assert f"type={name!r} is not made of two or more words in lower case" in message


def test_a_value_longer_than_an_enum_takes_is_e074() -> None:
    (message,) = refusals(plan_of(replace(ENUM, table=WIDE, values=("new", "paid", LONG))))
    assert "is longer than the 63 bytes" in message
    assert refusals(plan_of(replace(CHECK, table=WIDE, values=("new", "paid", LONG)))) == []


def without(plan: r.Plan, kind: type[r.Step]) -> r.Plan:
    phases = (
        replace(phase, steps=tuple(s for s in phase.steps if not isinstance(s, kind)))
        for phase in plan.phases
    )
    return replace(plan, phases=tuple(phases))  # type: ignore[arg-type]


def test_a_vocabulary_that_no_step_keeps_the_column_to_is_e074() -> None:
    (of_enum,) = refusals(without(plan_of(ENUM), r.CreateEnum))
    assert "no CreateEnum creates the type order_state" in of_enum
    (of_check,) = refusals(without(plan_of(CHECK), r.AddCheck))
    assert "no AddCheck before the cutover has its condition" in of_check
    plan = plan_of(ENUM)
    others = plan_of(replace(ENUM, values=("new", "paid")))
    mixed = replace(plan, phases=(plan.phases[0], others.phases[1], *plan.phases[2:]))
    assert any("of other values" in message for message in refusals(mixed))


def test_a_conversion_of_a_vocabulary_is_named_by_its_kind() -> None:
    undropped = replace(ENUM, unconvertible="null", required=True)
    assert any(
        error.msg.startswith("The ToEnum of order.state is invalid: unconvertible='null'")
        for error in check_plan(plan_of(undropped))
    )


@pytest.mark.parametrize("vocabulary", [ENUM, CHECK], ids=["enum", "check"])
@pytest.mark.parametrize("name", ["state:normal", "state!", "sta}te", "sta}te{"])
def test_a_column_whose_name_ends_early_in_an_expression_is_e073(
    vocabulary: r.ToEnum | r.ToCheck, name: str
) -> None:
    columns = {**TABLE.columns, name: TABLE.columns["state"]}
    plan = plan_of(replace(vocabulary, table=replace(TABLE, columns=columns), column=name))
    message, *_ = (error.msg for error in check_plan(plan) if error.id == "rollout.E073")
    assert message.endswith(f"names '{name}', which no expression can name.")
