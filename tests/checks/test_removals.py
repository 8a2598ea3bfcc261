"""A plan that drops legacy columns freezes them before it archives them."""

from dataclasses import replace

import pytest

from rollout.checks.plans import check_plan
from rollout.plan import (
    AddCheck,
    ArchiveLegacy,
    CreateIndex,
    DropLegacy,
    FreezeLegacy,
    Plan,
    Step,
)
from tests.engine.sample_plans import with_phases, with_step
from tests.engine.samples import BIGINT


def with_last(*kinds: type[Step]) -> Plan:
    """The plan with these steps of its last phase, in this order."""
    *earlier, contract = BIGINT.plan.phases
    steps = {type(step): step for step in contract.steps}
    last = replace(contract, steps=tuple(steps[kind] for kind in kinds))
    return with_phases(BIGINT.plan, [*earlier, last])


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        ((ArchiveLegacy, DropLegacy), True),
        ((ArchiveLegacy, FreezeLegacy, DropLegacy), True),
        ((DropLegacy, FreezeLegacy, ArchiveLegacy), True),
        ((FreezeLegacy, ArchiveLegacy, DropLegacy), False),
    ],
)
def test_a_drop_of_columns_that_were_not_frozen_before_they_were_archived_is_refused(
    kinds: tuple[type[Step], ...], refused: bool
) -> None:
    messages = [m for m in check_plan(with_last(*kinds)) if m.id == "rollout.E038"]
    assert bool(messages) == refused
    assert all("were not frozen before" in m.msg and m.hint for m in messages)


@pytest.mark.parametrize(
    "step",
    [
        CreateIndex(
            id="new", description="", table=BIGINT.table, name="new", columns=("id", "kind")
        ),
        AddCheck(
            id="new", description="", table=BIGINT.table, name="new", condition="{kind} <> ''"
        ),
    ],
    ids=["index", "check"],
)
@pytest.mark.parametrize("phase", [3, 4])
def test_a_step_that_builds_on_a_column_that_is_dropped_is_e057(phase: int, step: Step) -> None:
    (message,) = check_plan(with_step(BIGINT.plan, phase, step))
    assert message.id == "rollout.E057"
    assert "Step 'new' uses things.kind, which step 'drop' drops." in message.msg
