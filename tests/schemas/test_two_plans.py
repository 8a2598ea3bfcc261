"""Two plans over one table: with other columns they run side by side, in every pair of phases."""

from dataclasses import replace

from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Target
from tests.plan.test_conversions import COLUMNS, LEGACY, OFFERS, PRICE, SEEN
from tests.schemas import MakeScenario, Scenario, plan_of, table

# Each declares the columns that it works with, and no other.
PRICES = plan_of(replace(PRICE, table=table("offer", price="text")), name="prices")
OF_TIMES = table("offer", seen="timestamp without time zone", level="level")
TIMES = plan_of(replace(SEEN, table=OF_TIMES), name="times")


def assert_as_expected(scenario: Scenario, phases_done: int) -> None:
    live = read(scenario.connection, labels_of(scenario.plan))
    assert compare(scenario.plan, phases_done=phases_done, live=live) == []


def test_plans_over_other_columns_of_a_table_run_in_every_pair_of_phases(
    scenario: MakeScenario, newest: Target
) -> None:
    prices = scenario(OFFERS, PRICES)
    times = Scenario(prices.target, prices.connection, TIMES)
    before, columns = prices.application(LEGACY), prices.application(COLUMNS)
    for done in range(6):
        for phase in range(5):
            times.carry_out(phase)
            assert_as_expected(prices, done)
            assert_as_expected(times, phase + 1)
            if 2 < done < 5:
                assert prices.audit().mismatched == 0
            if 1 < phase < 4:
                assert times.audit().mismatched == 0
        times.take_back(4, 3, 2, 1, 0)
        assert_as_expected(prices, done)
        if done < 5:
            prices.carry_out(done)
    prices.take_back(4, 3, 2, 1, 0)
    assert prices.application(LEGACY) == before
    assert prices.application(COLUMNS) == columns
