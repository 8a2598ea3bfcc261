"""Two plans over one table: with other columns they run side by side, in every pair of phases."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_conversions import OFFERS, PRICE, SEEN
from tests.plan.test_extractions import AGENT, HOMES
from tests.plan.test_wide_keys import widening
from tests.schemas import MakeScenario, Scenario, plan_of, table

# Each declares the columns that it works with, and no other.
PRICES = plan_of(replace(PRICE, table=table("offer", price="text")), name="prices")
OF_TIMES = table("offer", seen="timestamp without time zone", level="level")
TIMES = plan_of(replace(SEEN, table=OF_TIMES), name="times")

ROOMS = """
ALTER TABLE home ADD rooms integer NOT NULL DEFAULT 3 CHECK (rooms > 0), ADD state text;
CREATE INDEX ON home (rooms, agent_email);
UPDATE home SET state = (ARRAY['open', 'sold', 'Sold '])[1 + id % 3];
"""
WIDE = widening(
    r.WidenKey(table=table("home", rooms=r.Column("integer", null=False)), column="rooms")
)
AGENTS = plan_of(AGENT, name="agents")
STATES = plan_of(
    r.Lookup(
        table=table("home", state="text"),
        legacy="state",
        column="state_id",
        lookup_table="home_states",
        required=False,
    ),
    name="states",
)
PAIRS = {
    "two conversions": (OFFERS, PRICES, TIMES, "offer"),
    "a widening, an extraction meanwhile": (HOMES + ROOMS, WIDE, AGENTS, "home"),
    "an extraction, a widening meanwhile": (HOMES + ROOMS, AGENTS, WIDE, "home"),
    "a lookup, a widening meanwhile": (HOMES + ROOMS, STATES, WIDE, "home"),
}


def assert_as_expected(scenario: Scenario, phases_done: int) -> None:
    live = read(scenario.connection, labels_of(scenario.plan))
    assert compare(scenario.plan, phases_done=phases_done, live=live) == []


@pytest.mark.parametrize(("tables", "first", "second", "name"), PAIRS.values(), ids=PAIRS)
def test_plans_over_other_columns_of_a_table_run_in_every_pair_of_phases(
    tables: str,
    first: r.Plan,
    second: r.Plan,
    name: str,
    scenario: MakeScenario,
    newest: Target,
) -> None:
    one_team = scenario(tables, first)
    other_team = Scenario(one_team.target, one_team.connection, second)
    rows = f"SELECT to_jsonb(t) FROM {name} AS t ORDER BY id"
    before, values = schema_of(one_team.target), one_team.application(rows)
    for done in range(6):
        for phase in range(5):
            other_team.carry_out(phase)
            assert_as_expected(one_team, done)
            assert_as_expected(other_team, phase + 1)
            if 2 < done < 5:
                assert one_team.audit().mismatched == 0
            if 1 < phase < 4:
                assert other_team.audit().mismatched == 0
        other_team.take_back(4, 3, 2, 1, 0)
        assert_as_expected(one_team, done)
        if done < 5:
            one_team.carry_out(done)
    one_team.take_back(4, 3, 2, 1, 0)
    assert schema_of(one_team.target) == before
    assert one_team.application(rows) == values
