"""Expressions as plans write them: their columns, other names, and what cannot be read."""

import pytest

from rollout.plan.expressions import Condition, fault_of, named, over, renamed


def test_columns_are_named_once_in_their_order_and_doubled_braces_are_none() -> None:
    assert named({"a": "{b} || '{{x}}' || {a:normal}", "c": "{b}"}) == ("b", "a")


def test_columns_get_other_names_and_the_rest_stays() -> None:
    assert renamed("{price} > 0 OR {note:normal} = '{{}}'", {"note": "old"}) == (
        "{price} > 0 OR {old:normal} = '{{}}'"
    )


def test_an_expression_is_written_over_a_row_and_a_condition_over_its_own_table() -> None:
    assert over("{a} = '{{%}}'", "t").as_string() == """("t"."a" = '{%}')"""
    condition = Condition("{a b} <> '{{}}'")
    assert condition.sql.as_string() == """("a b" <> '{}')"""
    assert str(condition) == "a b <> '{}'"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("{a} = '{{}}'", ""),
        ("{a:normal}", ""),
        ("{a", "cannot be read: expected '}' before end of string"),
        ("a}", "cannot be read: Single '}' encountered in format string"),
        ("{}", "has braces without a column's name"),
        ("{a!r}", "names 'a!r', which is neither a column nor a column:normal"),
        ("{a:upper}", "names 'a:upper', which is neither a column nor a column:normal"),
    ],
)
def test_an_expression_that_cannot_be_read_says_why(expression: str, fault: str) -> None:
    assert fault_of(expression) == fault
