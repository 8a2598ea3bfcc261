"""The transaction in which columns take names: what it looks up, and the locks it waits for."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import errors, sql

from rollout import plan as r
from rollout.engine import ddl
from rollout.engine.control import NullControl
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.engine.actions import do_step, wait_until_somebody_waits
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


CHANGES = {
    "a statistics target": (
        "ALTER TABLE event ALTER about SET STATISTICS 77",
        "SELECT attstattarget FROM pg_attribute WHERE attrelid = 'event'::regclass"
        " AND attname = 'about'",
        77,
    ),
    "a comment on a column": (
        "COMMENT ON COLUMN event.about IS 'late'",
        "SELECT col_description('event'::regclass, attnum) FROM pg_attribute"
        " WHERE attrelid = 'event'::regclass AND attname = 'about'",
        "late",
    ),
    "a default": (
        "ALTER TABLE event ALTER about SET DEFAULT 5",
        "SELECT column_default FROM information_schema.columns"
        " WHERE table_name = 'event' AND column_name = 'about'",
        "5",
    ),
    "a comment on a constraint": (
        "COMMENT ON CONSTRAINT about_it ON event IS 'late'",
        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint"
        " WHERE conname = 'about_it'",
        "late",
    ),
    "the replica identity": (
        "ALTER TABLE event REPLICA IDENTITY USING INDEX event_pkey",
        "SELECT i.relname FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid"
        " WHERE x.indrelid = 'event'::regclass AND x.indisreplident",
        "event_pkey",
    ),
    "an index without a twin": ("CREATE INDEX late ON event (about)", "", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_a_swap_waits_for_its_lock_goes_along_or_stops_it(
    scenario: MakeScenario, server: Target, change: str
) -> None:
    statement, query, expected = CHANGES[change]
    shop = scenario(SHOP, widening(EVENTS))
    shop.carry_out(0, 1, 2)
    (step,) = (step for step in shop.plan.phases[3].steps if isinstance(step, r.CutOver))
    for before in shop.plan.phases[3].steps:
        if before == step:
            break
        do_step(shop.target, shop.connection, shop.plan, 3, before)
    *twins, swap = (a for a in shop.plan.forward(step).actions if isinstance(a, Statement))
    for twin in twins:
        ddl.apply(shop.connection, twin, NullControl())

    def swapped() -> None:
        with shop.target.connect() as engine:
            engine.execute("SET lock_timeout = '60s'")
            engine.execute(swap.sql)

    with ThreadPoolExecutor(1) as pool, shop.target.connect() as other:
        with other.transaction():
            # Comments lock no table against reads.
            other.execute("LOCK TABLE event IN SHARE ROW EXCLUSIVE MODE")
            other.execute(statement.encode())
            attempt = pool.submit(swapped)
            wait_until_somebody_waits(shop.connection)
        if expected is None:
            with pytest.raises(errors.RaiseException, match="another index or constraint"):
                attempt.result(timeout=60)
            return
        attempt.result(timeout=60)
    assert shop.application(query) == [(expected,)]


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
