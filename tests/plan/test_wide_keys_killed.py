"""A widening whose engine dies in a swap, or in that of the rollback, can continue or go back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from psycopg import OperationalError

from rollout.engine.target import Target
from tests.engine.actions import do_phase, do_step, undo_phase
from tests.engine.test_every_phase import schema_of
from tests.plan.partitioned_shops import OF_TICKETS, the_application_writes_tickets
from tests.plan.partitioned_shops import TICKETS as PARTED
from tests.plan.test_wide_keys import (
    EVENTS,
    SHOP,
    TICKETS,
    an_application_that_knows_one_name_writes,
    widening,
)
from tests.schemas import MakeScenario, Scenario

HALTED = """
CREATE FUNCTION halt() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); END $$;
CREATE EVENT TRIGGER halt ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER')
  EXECUTE FUNCTION halt();
"""
# By then objects and names are handed on, in the transaction that turns the triggers.
KILLED = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event = 'PgSleep'"""


def is_killed_in_the_swap(shop: Scenario, change: Callable[..., None]) -> None:
    """The engine's session ends within the swap's transaction."""
    shop.application(HALTED)
    with (
        ThreadPoolExecutor(1) as pool,
        shop.target.connect() as other,
        shop.target.connect() as engine,
    ):
        work = pool.submit(change, shop.target, engine, shop.plan, 3)
        while not other.execute(KILLED).fetchall():
            assert not work.done(), work.result()
        with pytest.raises(OperationalError):
            work.result(timeout=60)
    shop.application("DROP EVENT TRIGGER halt", "DROP FUNCTION halt")


def test_a_swap_that_dies_in_the_middle_leaves_what_was_before_and_runs_again(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(SHOP, widening(EVENTS))
    shop.carry_out(0, 1, 2)
    before = schema_of(shop.target)
    is_killed_in_the_swap(shop, do_phase)
    # What was built for it goes with the rollback.
    assert any("rollout_" in line and "event" in line for line in schema_of(shop.target))
    shop.take_back(3)
    assert schema_of(shop.target) == before
    shop.carry_out(3)
    after = schema_of(shop.target)
    is_killed_in_the_swap(shop, undo_phase)
    # The names are those of after the cutover.
    assert [line for line in after if line not in schema_of(shop.target)] == []
    shop.take_back(3)
    assert schema_of(shop.target) == before
    shop.carry_out(3, 4)
    shop.take_back(4, 3, 2, 1, 0)


def test_a_swap_of_a_partitioned_table_that_dies_in_the_middle_runs_again(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(PARTED, widening(OF_TICKETS))
    before = schema_of(shop.target)
    shop.carry_out(0, 1, 2)
    filled = schema_of(shop.target)
    *others, swap, _audit = shop.plan.phases[3].steps
    for step in others:
        do_step(shop.target, shop.connection, shop.plan, 3, step)
    is_killed_in_the_swap(shop, partial(do_step, step=swap))
    shop.take_back(3)
    assert schema_of(shop.target) == filled
    shop.carry_out(3)
    # It begins with the table that is cut over last.
    is_killed_in_the_swap(shop, undo_phase)
    # Among Django's migrations the phase counts as done.
    shop.carry_out(4)
    the_application_writes_tickets(shop)
    shop.take_back(4, 3, 2, 1, 0)
    assert schema_of(shop.target) == before


def test_phase_4_drops_what_a_rollback_of_the_cutover_that_died_has_built(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(SHOP, widening(TICKETS))
    before = schema_of(shop.target)
    shop.carry_out(0, 1, 2, 3)
    after = schema_of(shop.target)
    is_killed_in_the_swap(shop, undo_phase)
    assert schema_of(shop.target) != after
    # Among Django's migrations the phase counts as done.
    shop.carry_out(4)
    assert [line for line in schema_of(shop.target) if "rollout_" in line.split()[-1]] == []
    an_application_that_knows_one_name_writes(shop)
    shop.take_back(4)
    assert schema_of(shop.target) == after
    shop.take_back(3, 2, 1, 0)
    assert schema_of(shop.target) == before
