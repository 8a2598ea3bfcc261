"""A step whose CSV file could not be kept is refused."""

import pytest

from rollout import plan as r
from rollout.checks.plans import check_plan
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT
from tests.engine.test_csv_files import step_of


def refusals(*steps: tuple[int, r.RunCsvTask]) -> list[tuple[str | None, str]]:
    plan = BIGINT.plan
    for phase, step in steps:
        plan = with_step(plan, phase, step)
    return [(error.id, error.msg) for error in check_plan(plan)]


def columns_of(*columns: str) -> r.RunCsvTask:
    whole = step_of()
    return r.RunCsvTask(id=whole.id, description="", columns=columns, function=whole.function)


def test_a_sound_step_is_accepted() -> None:
    assert refusals((2, step_of())) == []


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ((), "it has no columns"),
        (("a", "b", "a"), "'a' is named twice"),
        (("line",), "'line' is a column that the engine adds"),
        (("is_done",), "'is_done' is a column that the engine adds"),
        ((" a",), "has blanks around it"),
        (("",), "is empty"),
        (("é" * 32,), "longer than 63 bytes"),
    ],
)
def test_columns_that_cannot_be_kept_are_e075(columns: tuple[str, ...], problem: str) -> None:
    ((check, message),) = refusals((2, columns_of(*columns)))
    assert check == "rollout.E075"
    assert problem in message


def test_two_steps_of_one_id_with_files_are_e075() -> None:
    ids = [check for check, _ in refusals((2, step_of()), (3, step_of()))]
    assert ids == ["rollout.E075"] * 2


def test_a_function_that_cannot_be_imported_is_e010() -> None:
    ((check, message),) = refusals((2, step_of("gone")))
    assert check == "rollout.E010"
    assert "of step 'import'" in message
