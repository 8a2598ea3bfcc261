"""A plan does not start while another one changes its columns; the refusal names that one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import plan as r
from rollout import runner
from rollout.models import PhaseRun, RunState
from rollout.plan import plans
from rollout.queries.other_plans import item_of
from tests.plan.test_conversions import PRICE
from tests.schemas import plan_of
from tests.support import rollouts
from tests.support.servers import Database


def phase_done(phase: int, plan: str = rollouts.PLAN) -> None:
    """As if a phase of a plan, of the one that ships, had run."""
    PhaseRun.objects.create(
        rollout=rollouts.the_rollout(plan),
        phase=phase,
        state=RunState.DONE,
        plan_digest=plans.get(plan).digest,
        lease_until=timezone.now() + timedelta(minutes=1),
    )


def test_a_plan_waits_for_another_one_that_changes_its_columns(
    committed_db: Database, own_plans: None
) -> None:
    second = plans.register(replace(plans.get(rollouts.PLAN), name="second"))
    elsewhere = plan_of(PRICE, name="elsewhere")
    rollout = rollouts.the_rollout(second.name)
    assert item_of(second, "production", 0).level == "pass"
    phase_done(1)
    waiting = item_of(second, "production", 0)
    assert waiting.level == "blocks"
    assert f"The plan {rollouts.PLAN} is in progress and works with" in waiting.evidence
    assert "properties.status" in waiting.evidence
    assert f"Finish phase 4 of {rollouts.PLAN}, or roll it back" in waiting.advice
    assert item_of(elsewhere, "production", 0).level == "pass"
    assert item_of(second, "staging", 0).level == "pass"
    with pytest.raises(runner.Refused, match=f"“other plans”: The plan {rollouts.PLAN} is in"):
        rollouts.start(rollout, 0)
    phase_done(4)
    assert item_of(second, "production", 0).level == "pass"


def test_a_finished_plan_is_not_rolled_back_under_another_one_that_began_since(
    committed_db: Database, own_plans: None
) -> None:
    second = plans.register(replace(plans.get(rollouts.PLAN), name="second"))
    for phase in range(5):
        phase_done(phase)
    phase_done(1, second.name)
    shipped = rollouts.the_rollout()
    with pytest.raises(runner.Refused, match="The plan second has begun since and works with"):
        runner.roll_back(shipped, 4, actor=rollouts.ADA)
    assert not PhaseRun.objects.filter(rollout=shipped, direction="backward").exists()
    runner.roll_back(rollouts.the_rollout(second.name), 1, actor=rollouts.ADA)


def test_a_plan_that_renames_a_table_waits_for_another_one_that_works_with_it(
    committed_db: Database, own_plans: None
) -> None:
    taking = [
        plan_of(PRICE, extra={number: (step,)}, name="taking")
        for number, step in (
            (3, r.RenameTable(id="move", description="Rename", name="properties", to="homes")),
            (3, r.RenameTable(id="move", description="Rename", name="homes", to="properties")),
            (4, r.DropTable(id="move", description="Drop it", name="properties")),
        )
    ]
    assert [item_of(plan, "production", 0).level for plan in taking] == ["pass"] * 3
    phase_done(1)
    assert [item_of(plan, "production", 0).level for plan in taking] == ["blocks"] * 3
