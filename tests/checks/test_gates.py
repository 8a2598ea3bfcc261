"""Guardrails that cannot be judged and gates that can never open are refused at the start."""

from dataclasses import replace
from datetime import time

from rollout.plan import (
    ChecklistComplete,
    Item,
    MaintenanceWindow,
    MappingReviewed,
)
from rollout.plan.guardrails import Guardrail
from tests.checks.refusals import problems
from tests.engine.samples import BIGINT

PLAN = BIGINT.plan


def test_a_rule_that_can_never_be_judged_is_e011() -> None:
    rules = (Guardrail(id="boundless", statistic="p95", action="warn"),)
    assert problems(replace(PLAN, guardrails=rules)) == [
        ("rollout.E011", "Guardrail 'boundless' has no limit.")
    ]


def test_a_maintenance_window_that_never_opens_is_e053() -> None:
    for window, reason in (
        (
            MaintenanceWindow(time(22), time(4), "Mars/Olympus"),
            "unknown time zone 'Mars/Olympus'.",
        ),
        (MaintenanceWindow(time(22), time(4), "UTC", days=()), "has no days."),
        (MaintenanceWindow(time(22), time(22), "UTC"), "opens and closes at the same time."),
    ):
        phases = (replace(PLAN.phases[0], gates=(window,)), *PLAN.phases[1:])
        ((check, message),) = problems(replace(PLAN, phases=phases))
        assert check == "rollout.E053"
        assert message.endswith(reason)


def test_a_checklist_that_is_requested_must_be_there_and_its_ids_differ() -> None:
    phases = (replace(PLAN.phases[0], gates=(ChecklistComplete(),)), *PLAN.phases[1:])
    assert [id for id, _message in problems(replace(PLAN, phases=phases))] == ["rollout.E054"]
    items = (Item(id="told", text="Told"), Item(id="told", text="Told again"))
    plan = replace(PLAN, phases=phases, checklist=items)
    assert [id for id, _message in problems(plan)] == ["rollout.E052"]


def test_a_gate_about_the_mapping_needs_one_before_it() -> None:
    gate = (MappingReviewed(),)
    for number, expected in ((2, ["rollout.E056"]), (3, [])):
        phases = list(PLAN.phases)
        phases[number] = replace(phases[number], gates=gate)
        refused = problems(replace(PLAN, phases=tuple(phases)))  # type: ignore[arg-type]
        assert [id for id, _message in refused] == expected
