"""The examples of the page about vocabularies run as they stand there."""

import re

import pytest

from config.home import ROOT
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.plan import AddCheck, CreateEnum, Plan
from tests.engine.actions import audit, do_phase, undo_phase

PAGE = (ROOT / "docs/vocabulary.md").read_text()
ROWS = "SELECT id, state::text, size FROM post_parcel ORDER BY id"


@pytest.fixture(scope="module")
def example() -> dict[str, object]:
    blocks = re.findall(r"```python title=\"post/parcels.py\"\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks), "docs/vocabulary.md", "exec"), names)  # noqa: S102
    return names


def test_the_steps_of_an_example_are_those_of_its_phases(example: dict[str, object]) -> None:
    plan, sizes = example["PLAN"], example["SIZES"]
    assert isinstance(plan, Plan)
    assert isinstance(sizes, Plan)
    (create,) = (s for s in plan.phases[1].steps if isinstance(s, CreateEnum))
    (check,) = (s for s in sizes.phases[3].steps if isinstance(s, AddCheck))
    for own, made in ((example["CREATE"], create), (example["CHECK"], check)):
        assert isinstance(own, CreateEnum | AddCheck)
        assert plan.forward(own) == plan.forward(made)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PLAN", [(1, "new", "M"), (2, "paid", "small"), (3, None, ""), (4, "sent", "l")]),
        (
            "SIZES",
            [(1, " New", "medium"), (2, "payed", "small"), (3, "", "medium"), (4, "sent", "large")],
        ),
    ],
)
def test_an_example_keeps_a_text_to_its_values_and_brings_the_texts_back(
    name: str,
    values: list[tuple[int, str | None, str]],
    example: dict[str, object],
    target: Target,
    connection: Connection,
) -> None:
    plan = example[name]
    assert isinstance(plan, Plan)
    assert check_plan(plan) == []
    connection.execute(
        "CREATE TABLE post_parcel (id bigint PRIMARY KEY, state text, size varchar(10) NOT NULL)"
    )
    connection.execute(
        "INSERT INTO post_parcel VALUES (1, ' New', 'M'), (2, 'payed', 'small'), (3, '', ''),"
        " (4, 'sent', 'l')"
    )
    before = connection.execute(ROWS).fetchall()
    for number in range(5):
        do_phase(target, connection, plan, number)
        if number == 3:
            assert audit(target, plan).mismatched == 0
    assert connection.execute(ROWS).fetchall() == values
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    assert connection.execute(ROWS).fetchall() == before
