"""Keys with several groups of values, of which people decide what their rows hold."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollout.engine.target import Target
from rollout.engine.value_decisions import (
    CannotDecideValues,
    UnconvertibleValue,
    Undecided,
    decide_values,
    unconvertible_values,
    undecided_values,
)
from tests.plan.test_extractions import AGENT, AGENTS, CONFLICTS, HOMES, LEGACY
from tests.schemas import MakeScenario, Scenario, plan_of

DECIDED = replace(AGENT, conflicts="decide")


def listed(homes: Scenario) -> list[UnconvertibleValue]:
    return unconvertible_values(homes.connection, homes.plan, DECIDED)


def undecided(homes: Scenario) -> Undecided | None:
    return undecided_values(homes.connection, homes.plan, DECIDED)


def decide(homes: Scenario, email: str, decision: Mapping[str, str | None] | None) -> None:
    decide_values(
        homes.connection, homes.plan, DECIDED, {json.dumps([email]): decision}, reviewer="lena"
    )


def test_people_decide_what_the_row_of_a_key_in_conflict_holds_and_all_come_back(
    scenario: MakeScenario, server: Target
) -> None:
    homes = scenario(HOMES + CONFLICTS, plan_of(DECIDED))
    assert homes.check() == []
    warning = homes.item(1, "conflicts of home (agent_email)")
    assert (warning.level, "people decide" in warning.evidence) == ("warns", True)
    before = homes.application(LEGACY)
    homes.carry_out(0)
    (value,) = listed(homes)
    assert (value.text, value.rows, value.is_open) == ("a0@x.test", 2, True)
    assert value.groups == ((("Agent 0", "00"), 6), (("Agent 0", "099"), 2))
    assert value.reason == "Agent 0, 00 (6 rows); Agent 0, 099 (2 rows)"
    assert undecided(homes) is None
    homes.carry_out(1)
    with pytest.raises(AssertionError, match="undecided"):
        homes.carry_out(2)
    assert undecided(homes) == Undecided(1, 2, "40")
    phone = "SELECT phone FROM agent WHERE email = 'a0@x.test'"
    assert homes.application(phone) == [("00",)]
    decide(homes, "a0@x.test", {"name": "Agent 0", "phone": "099"})
    assert homes.application(phone) == [("099",)]
    # Nobody wrote the legacy columns of the others.
    assert homes.application(LEGACY) == before
    assert undecided(homes) == Undecided(0, 0, "")
    assert [(v.rows, v.is_open, v.reviewer) for v in listed(homes)] == [(6, False, "lena")]
    (of_agent,) = homes.audit().translations
    assert of_agent.categories == {"ok": 33, "lossy": 7}
    homes.carry_out(2, 3)
    # A write of one home is a conflict of the others with it.
    homes.application("UPDATE home SET agent_phone = '1' WHERE id = 1")
    assert undecided(homes) == Undecided(1, 7, "11")
    assert homes.audit().categories["undecided"] == 7
    homes.application("UPDATE home SET agent_phone = '01' WHERE id = 1")
    assert homes.audit().mismatched == 0
    homes.carry_out(4)
    homes.take_back(4, 3, 2, 1, 0)
    assert homes.application(LEGACY) == before


def test_a_decision_before_phase_2_is_what_the_row_is_made_of(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES + CONFLICTS, plan_of(DECIDED))
    decide(homes, "a0@x.test", {"name": "Zoe", "phone": None})
    # Who has one group of values needs none.
    decide(homes, "a1@x.test", {"name": "Other", "phone": "9"})
    homes.carry_out(0, 1, 2)
    assert homes.application(AGENTS)[:2] == [
        ("Zoe", None, "a0@x.test"),
        ("Agent 1", "01", "a1@x.test"),
    ]
    assert homes.audit().categories == {"ok": 31, "lossy": 9}
    decide(homes, "a0@x.test", None)
    assert undecided(homes) == Undecided(1, 8, "10")


def test_a_key_of_several_columns_is_known_whatever_its_empty_values_are(
    scenario: MakeScenario, newest: Target
) -> None:
    keyed = replace(DECIDED, key=("agent_name", "agent_email"))
    homes = scenario(
        HOMES + "UPDATE home SET agent_email = NULL, agent_phone = '1' WHERE id IN (1, 6);"
        "UPDATE home SET agent_email = '', agent_phone = '2' WHERE id = 11;",
        plan_of(keyed),
    )
    (value,) = unconvertible_values(homes.connection, homes.plan, keyed)
    assert (value.legacy, value.rows) == (["Agent 1", None], 1)
    decide_values(
        homes.connection, homes.plan, keyed, {value.source: {"phone": "2"}}, reviewer="lena"
    )
    homes.carry_out(0, 1, 2)
    assert homes.application("SELECT phone FROM agent WHERE email IS NULL") == [("2",)]
    assert homes.audit().mismatched == 0


def test_a_decision_is_tried_by_the_column_of_the_new_table(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES + CONFLICTS, plan_of(DECIDED))
    with pytest.raises(CannotDecideValues, match="this value is too long"):
        decide(homes, "a0@x.test", {"name": "x" * 41, "phone": None})


def test_keys_in_conflict_are_read_without_a_trace_before_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    homes = scenario(HOMES + CONFLICTS, plan_of(DECIDED))
    homes.application("DROP SCHEMA rollout CASCADE")
    assert [value.text for value in listed(homes)] == ["a0@x.test"]
    assert homes.application("SELECT to_regnamespace('rollout')") == [(None,)]
