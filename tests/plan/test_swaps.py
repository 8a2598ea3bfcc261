"""The transaction in which columns take names: what it looks up, and the locks it waits for."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import errors, sql

from rollout import plan as r
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.engine.test_every_phase import schema_of
from tests.plan.test_wide_keys import EVENTS, SHOP, TICKET, TICKETS, widening
from tests.schemas import MakeScenario


def test_an_index_that_comes_while_others_are_built_stops_the_swap(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(SHOP, widening(EVENTS))
    shop.carry_out(0, 1, 2)
    (step,) = (step for step in shop.plan.phases[3].steps if isinstance(step, r.CutOver))
    (*_, swap) = shop.plan.forward(step).actions
    assert isinstance(swap, Statement)
    shop.application("CREATE INDEX late ON event (about)")
    with pytest.raises(errors.RaiseException, match="another index or constraint"):
        shop.connection.execute(swap.sql)
    shop.carry_out(3)
    assert shop.application("SELECT pg_get_indexdef('late'::regclass)") == [
        ("CREATE INDEX late ON public.event USING btree (about)",)
    ]


def test_a_swap_that_lacks_a_table_lets_go_of_the_others(
    scenario: MakeScenario, newest: Target
) -> None:
    shop = scenario(SHOP, widening(TICKETS))
    shop.carry_out(0, 1, 2)
    *_, step = (s for s in shop.plan.phases[3].steps if isinstance(s, r.CutOver))
    assert step.table == TICKET
    (*_, swap) = shop.plan.forward(step).actions
    assert isinstance(swap, Statement)
    for action in shop.plan.forward(step).actions[:-1]:
        assert isinstance(action, Statement)
        for (text,) in shop.connection.execute(action.sql).fetchall():
            shop.connection.execute(text)
    before = schema_of(shop.target)

    def swapped() -> None:
        with shop.target.connect() as engine:
            engine.execute("SET lock_timeout = '3s'")
            engine.execute(swap.sql)

    with ThreadPoolExecutor(1) as pool, shop.target.connect() as other:
        with other.transaction():
            # It has no lock on tickets for longer than it waits for lines.
            other.execute('LOCK TABLE "Ticket Line" IN ROW EXCLUSIVE MODE')
            attempt = pool.submit(swapped)
            while not attempt.done():
                # Would time out if the attempt kept it for as long as it waits for lines.
                shop.application(
                    "UPDATE ticket SET subject = 'written' WHERE id = 3", lock_timeout="1s"
                )
            with pytest.raises(errors.LockNotAvailable):
                attempt.result(timeout=60)
        assert schema_of(shop.target) == before
        pool.submit(swapped).result(timeout=60)
    types = sql.SQL("SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = {}")
    names = types.format(sql.Literal("ticket")) + sql.SQL("::regclass AND attname = 'id'")
    assert shop.connection.execute(names).fetchall() == [("bigint",)]
