"""The gate that asks whether the live schema is what the plan expects."""

from typing import Any

import pytest
from django.db import connections

from rollout import gates, runner
from rollout.gates import GateStatus, cached_queries
from rollout.models import Direction, PhaseRun, Rollout, RunState
from rollout.plan import plans
from rollout.plan.gates import NoDrift
from tests.support import rollouts


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    cached_queries.invalidate()


def answer(rollout: Rollout, number: int) -> GateStatus:
    return gates.check_gate(NoDrift(), gates.Evidence(rollout, number))


def test_a_schema_as_expected_passes(bare: Rollout) -> None:
    given = answer(bare, 1)
    assert (given.name, given.status) == ("no drift", "pass")
    assert given.message == "2 tables match the plan before phase 1."


def test_a_schema_that_differs_fails_and_keeps_the_phase_from_starting(prepared: Rollout) -> None:
    rollouts.execute("ALTER TABLE properties ALTER city TYPE varchar(80)")
    with pytest.raises(runner.Refused, match="expected text not null, found character varying"):
        rollouts.start(prepared, 1)
    assert answer(prepared, 1).status == "fail"


def test_no_more_than_three_differences_are_named(bare: Rollout) -> None:
    rollouts.execute("DROP TABLE property_images")
    for column in ("price", "city", "address", "type"):
        rollouts.execute(f"ALTER TABLE properties ALTER {column} TYPE varchar(99)")
    assert "; and " in answer(bare, 1).message


def test_a_database_that_is_away_is_unknown(bare: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "/nowhere")
    given = answer(bare, 1)
    assert given.status == "unknown"
    assert "could not be read" in given.message


def test_the_answer_serves_the_next_pages_too_and_a_start_reads_it_afresh(
    prepared: Rollout,
) -> None:
    assert answer(prepared, 1).status == "pass"
    rollouts.execute("ALTER TABLE properties ADD currency text")
    assert answer(prepared, 1).status == "pass"
    with pytest.raises(runner.Refused, match="No schema drift"):
        rollouts.start(prepared, 1)


def test_an_answer_that_is_old_is_read_again(
    bare: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(bare, 1).status == "pass"
    rollouts.execute("ALTER TABLE properties ADD currency text")
    monkeypatch.setattr(cached_queries, "TTL_SECONDS", -1.0)
    assert answer(bare, 1).status == "fail"


def test_a_phase_that_stopped_in_its_middle_may_continue_unless_something_else_differs(
    prepared: Rollout,
) -> None:
    plan = plans.get(prepared.plan)
    with rollouts.target() as other:
        other.execute(plan.forward(plan.step(1, "create-types")).actions[0].sql)  # type: ignore[union-attr]
    assert answer(prepared, 1).status == "fail"
    PhaseRun.objects.create(
        rollout=prepared,
        phase=1,
        direction=Direction.FORWARD,
        state=RunState.FAILED,
        actor_name="ada",
    )
    assert answer(prepared, 1).status == "pass"
    rollouts.execute("ALTER TABLE properties ALTER city TYPE varchar(80)")
    cached_queries.invalidate()
    assert "properties.city" in answer(prepared, 1).message


def test_every_phase_but_the_first_of_the_shipped_plan_has_the_gate() -> None:
    plan: Any = plans.get(rollouts.PLAN)
    assert [NoDrift() in phase.gates for phase in plan.phases] == [False, True, True, True, True]


def test_no_drift_is_seen_through_all_phases_and_back(bare: Rollout) -> None:
    rollouts.load_listings(50)
    for number in range(5):
        assert answer(bare, number).status == "pass", answer(bare, number)
        rollouts.carry_out(bare, number)
    for number in reversed(range(5)):
        rollouts.carry_back(bare, number)
        assert answer(bare, number).status == "pass", answer(bare, number)
    assert PhaseRun.objects.count() >= 10
