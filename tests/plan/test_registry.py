"""Plans are found by name, and a name that nobody has is answered with those there are."""

from dataclasses import replace

import pytest

from properties.rollout import PLAN
from rollout.plan import plans
from rollout.plan.registry import Registry, UnknownPlan
from tests.engine.samples import BIGINT


def test_a_plan_is_found_by_its_name() -> None:
    registry = Registry()
    assert registry.register(BIGINT.plan) is BIGINT.plan
    assert registry.get("sample-bigint") is BIGINT.plan


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    registry = Registry()
    registry.register(replace(BIGINT.plan, name="b"))
    registry.register(replace(BIGINT.plan, name="a"))
    with pytest.raises(UnknownPlan, match=r"There is no plan 'c'\. Known plans: a, b\."):
        registry.get("c")


def test_a_project_without_a_plan_says_so() -> None:
    with pytest.raises(UnknownPlan, match="none is registered"):
        Registry().get("a")


def test_two_plans_of_one_name_are_both_kept_for_the_checks_to_see() -> None:
    registry = Registry()
    registry.register(BIGINT.plan)
    registry.register(BIGINT.plan)
    assert len(list(registry)) == 2


def test_the_shipped_plan_is_discovered() -> None:
    assert plans.get("property-classification") is PLAN
