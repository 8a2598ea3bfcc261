"""The checks of migrations leave out what the check of plans refuses."""

from dataclasses import replace

import pytest

from rollout.checks import migrations
from rollout.plan import plans
from tests.checks.test_conversions import PRICE
from tests.schemas import plan_of


def test_a_plan_with_an_open_brace_is_left_to_the_check_of_plans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = plan_of(PRICE)
    open_brace = replace(PRICE, keeps_name=True, forward={"cents": "{price"})
    monkeypatch.setattr(plans, "_plans", [sound, plan_of(open_brace)])
    assert migrations._readable_plans() == [sound]
