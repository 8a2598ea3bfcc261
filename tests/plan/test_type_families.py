"""Types of which one may take another one's place, with what is bound to its column."""

import pytest

from rollout.plan.type_families import compare_alike


@pytest.mark.parametrize(
    ("old", "new", "alike"),
    [
        ("integer", "bigint", True),
        ("character varying(10)", "text", True),
        ("text", "integer", False),
        ("numeric(12,2)", "numeric", True),
        ("numeric(12,2)", "numeric(14,2)", True),
        ("numeric(12,2)", "numeric(14,4)", True),
        ("numeric(12)", "numeric(14,0)", True),
        ("numeric(12,4)", "numeric(12,2)", False),
        ("numeric(12,4)", "numeric(12)", False),
        ("numeric", "numeric(30,10)", False),
        ("numeric", "bigint", False),
    ],
)
def test_a_type_takes_the_place_of_one_whose_values_it_holds_unrounded(
    old: str, new: str, alike: bool
) -> None:
    assert compare_alike(old, new) is alike
