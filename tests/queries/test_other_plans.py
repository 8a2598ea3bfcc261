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
from tests.plan.test_wide_keys import widening
from tests.schemas import plan_of, table
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


NUMBERED = {"id": r.Column("bigint", null=False), "a": r.Column("integer")}
ITEM = r.Table(name="item", key=("id",), columns=NUMBERED | {"b": r.Column("integer")})
LINE = r.Table(
    name="line",
    key=("item", "number"),
    columns={"item": r.Column("integer", null=False), "number": r.Column("integer", null=False)},
)
NARROW = r.Table(name="item", key=("id",), columns={"id": r.Column("integer", null=False)})
NAMES = r.Extract(
    table=table("home", agent="text", phone="text"),
    legacy=("agent", "phone"),
    into="agent",
    column="agent_id",
    key=("agent",),
    columns={"agent": "name", "phone": "phone"},
    required=False,
)
# A plan that is in progress, another one that is to start, and the columns or tables of both.
OVERLAPS = {
    "a widened key and a plan of its table": (
        widening(r.WidenKey(table=NARROW)),
        plan_of(
            r.Derived(table=ITEM, column="c", type="integer", expression="{a}", writable=True),
            name="other",
        ),
        "item.id",
    ),
    "a widened key and a plan of a referrer's key": (
        widening(r.WidenKey(table=NARROW, references=((LINE, "item"),))),
        plan_of(
            r.Derived(table=LINE, column="c", type="integer", expression="{number}", writable=True),
            name="other",
        ),
        "line.item",
    ),
    "two widenings of other columns of a table, whose indexes may be over both": (
        widening(r.WidenKey(table=replace(ITEM, columns=NUMBERED), column="a")),
        replace(
            widening(
                r.WidenKey(
                    table=replace(
                        ITEM,
                        columns={"id": NUMBERED["id"], "b": r.Column("integer")},
                    ),
                    column="b",
                )
            ),
            name="other",
        ),
        "item.",
    ),
    "an extraction and a plan of its columns": (
        plan_of(NAMES, name="names"),
        plan_of(
            r.Derived(
                table=table("home", phone="text"),
                column="c",
                type="text",
                expression="{phone}",
                writable=True,
            ),
            name="other",
        ),
        "home.phone",
    ),
    "an extraction and a table renamed to the one that it makes": (
        plan_of(NAMES, name="names"),
        plan_of(
            replace(PRICE, keeps_name=False),
            extra={3: (r.RenameTable(id="move", description="R", name="people", to="agent"),)},
            name="other",
        ),
        "agent.",
    ),
    "a renamed table and a plan of it": (
        plan_of(
            replace(PRICE, keeps_name=False),
            extra={3: (r.RenameTable(id="move", description="R", name="home", to="house"),)},
            name="renaming",
        ),
        plan_of(NAMES, name="names"),
        "home.agent",
    ),
    "a dropped table and a plan of it": (
        plan_of(
            replace(PRICE, keeps_name=False),
            extra={4: (r.DropTable(id="gone", description="D", name="home"),)},
            name="dropping",
        ),
        plan_of(NAMES, name="names"),
        "home.agent",
    ),
    "two extractions into tables of one name": (
        plan_of(NAMES, name="names"),
        plan_of(replace(NAMES, table=table("shop", agent="text", phone="text")), name="other"),
        "agent.",
    ),
    "a renamed table and one dropped of its new name": (
        plan_of(
            replace(PRICE, keeps_name=False),
            extra={3: (r.RenameTable(id="move", description="R", name="home", to="house"),)},
            name="renaming",
        ),
        plan_of(
            replace(PRICE, table=table("stall", price="text")),
            extra={4: (r.DropTable(id="gone", description="D", name="house"),)},
            name="dropping",
        ),
        "house",
    ),
}


@pytest.mark.parametrize(("ahead", "waiting", "common"), OVERLAPS.values(), ids=OVERLAPS)
def test_a_plan_is_refused_by_name_while_another_one_changes_what_it_works_with(
    committed_db: Database, own_plans: None, ahead: r.Plan, waiting: r.Plan, common: str
) -> None:
    for first, second in ((ahead, waiting), (waiting, ahead)):
        for plan in (first, second):
            if plans.find(plan.name) is None:
                plans.register(plan)
        PhaseRun.objects.all().delete()
        phase_done(1, first.name)
        item = item_of(second, "production", 0)
        assert item.level == "blocks"
        assert f"The plan {first.name} is in progress" in item.evidence
        assert common in item.evidence
