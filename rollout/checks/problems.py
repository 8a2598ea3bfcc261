"""What the checks of plans yield."""

from collections.abc import Iterator
from typing import NamedTuple

from rollout.checks.ids import CheckId
from rollout.plan.plan import Plan, Step


class Problem(NamedTuple):
    """What is wrong with a plan, and what to do."""

    id: CheckId
    message: str
    hint: str


def numbered_steps(plan: Plan) -> Iterator[tuple[int, Step]]:
    """Every step with the number of its phase, in the order of the plan."""
    for number, phase in enumerate(plan.phases):
        for step in phase.steps:
            yield number, step
