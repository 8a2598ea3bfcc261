"""A lookup whose rows could not be made is refused when the project starts."""

from dataclasses import replace
from typing import Any

import pytest

from rollout.checks.plans import check_plan
from rollout.plan import Column
from tests.schemas import STATUS, plan_of


def test_a_column_that_may_be_null_and_must_have_a_row_needs_one_for_blanks() -> None:
    (error,) = check_plan(plan_of(replace(STATUS, blank=None)))
    assert error.id == "rollout.E008"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({0: "Open"}, "an id must be an integer from 1 to 32767"),
        ({70000: "Open"}, "an id must be an integer from 1 to 32767"),
        ({"1": "Open"}, "an id must be an integer from 1 to 32767"),
        ({1: " "}, "its name must have 1 to 20 characters"),
        ({1: "x" * 21}, "its name must have 1 to 20 characters"),
        ({1: {"colour": "red"}}, "its name must have 1 to 20 characters"),
        ({1: "Open", 2: " OPEN"}, "another row's name differs from its name only in case or white"),
        ({1: "Shut"}, "its name is a synonym, of 'Closed'"),
        ({1: {"name": "Open", "size": 1}}, "there is no column size"),
    ],
)
def test_a_row_that_could_not_be_made_is_e018(rows: Any, says: str) -> None:
    lookup = replace(
        STATUS,
        rows=rows,
        columns={"colour": Column("text")},
        key="smallint",
        synonyms={"shut": "Closed"},
    )
    errors = check_plan(plan_of(lookup))
    assert {error.id for error in errors} == {"rollout.E018"}
    assert says in errors[0].msg


@pytest.mark.parametrize(
    "columns", [{"name": Column("text")}, {"colour": Column("text", null=False)}]
)
def test_a_further_column_that_no_new_text_could_fill_is_e019(columns: Any) -> None:
    (error,) = check_plan(plan_of(replace(STATUS, columns=columns)))
    assert error.id == "rollout.E019"
