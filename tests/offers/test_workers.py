"""The rollout forward and back by real workers, of which one is killed, while releases write."""

from __future__ import annotations

from pathlib import Path

import pytest

from offers import book
from offers.generated import OFFERS
from offers.models import cents_of
from rollout import runner
from rollout.engine.value_decisions import unconvertible_values
from rollout.journal import activity_log
from rollout.models import LogEntry, Rollout, RunState, Snapshot
from rollout.plan import plans
from tests.engine.test_every_phase import schema_lines
from tests.support import rollouts
from tests.support.dying_workers import SLOW, die_in_a_pass, released
from tests.support.intervals import QUICK_WATCHDOG
from tests.support.processes import manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

PRICES = "SELECT jsonb_object_agg(id, price) FROM offers"
# What people decide that texts mean; all others are no price.
MEANINGS = {"1.2m": "120000000", "850k": "85000000"}


# A price of so many cents as a buyer types it.
TYPED = "to_char(%(value)s / 100.0, ' FM999,999,990.00')"
# By the names that the columns have before the cutover, and from it on.
OLD = f"UPDATE offers SET price = {TYPED} WHERE id = %(key)s"
NEW = "UPDATE offers SET price_cents = %(value)s WHERE id = %(key)s"
OLD_AFTER = f"UPDATE offers SET price_legacy = {TYPED} WHERE id = %(key)s"
NEW_AFTER = "UPDATE offers SET price = %(value)s WHERE id = %(key)s"


def application(key: int, cents: int) -> None:
    """The one release that works in every phase."""
    book.change_price(key, f"${cents / 100:,.2f}")


def decide(rollout: Rollout) -> None:
    plan = plans.get(rollout.plan)
    (price,) = plan.reviewed_conversions
    with rollouts.target() as opened:
        values = unconvertible_values(opened, plan, price)
    decisions = {v.source: {"price_cents": MEANINGS.get(v.text)} for v in values}
    runner.decide_values(rollout, price, decisions, actor=ADA)


def verified_snapshot(rollout: Rollout) -> None:
    snapshot = runner.take_snapshot(rollout, actor=ADA)
    verified = Snapshot.objects.filter(pk=snapshot.pk, state="verified")
    wait_until(verified.exists, seconds=120, seen=lambda: f"{Snapshot.objects.values()}")


def test_no_price_is_lost_on_the_way_to_phase_4_and_back_where_a_worker_dies(
    committed_db: Database, offer_prices: Rollout, tmp_path: Path
) -> None:
    rollout, env = offer_prices, committed_db.env(DEMO="1", LOG_LEVEL="INFO", **QUICK_WATCHDOG)
    rollouts.execute(SLOW.format(table="offers", few=5))
    before, schema = rollouts.ask(PRICES), schema_lines(committed_db.url)
    with (
        stopped_after(manage_process("rollout", "watchdog", env=env, log=tmp_path / "dog.log")),
        stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")),
    ):
        running, old = released(application, range(100, 120)), released(OLD, range(120, 140))
        for phase in (0, 1):
            wait_for(rollouts.start(rollout, phase), RunState.DONE)
        decide(rollout)
        die_in_a_pass(lambda: rollouts.start(rollout, 2), "fill", rows=OFFERS)
        expected = released(NEW, range(140, 160)).retire() | old.retire()
        wait_for(rollouts.start(rollout, 3), RunState.DONE)
        new = released(NEW_AFTER, range(160, 180))
        expected |= released(OLD_AFTER, range(180, 200)).retire()
        verified_snapshot(rollout)
        wait_for(rollouts.start(rollout, 4), RunState.DONE)
        wait_for(runner.roll_back(rollout, 4, actor=ADA), RunState.DONE)
        expected |= released(OLD_AFTER, range(200, 220)).retire() | new.retire()
        wait_for(runner.roll_back(rollout, 3, actor=ADA), RunState.DONE)
        old = released(OLD, range(220, 240))
        for phase in (2, 1, 0):
            wait_for(runner.roll_back(rollout, phase, actor=ADA), RunState.DONE)
        expected |= old.retire() | running.retire()
    after = rollouts.ask(PRICES)
    assert {key: cents_of(after[str(key)]) for key in expected} == expected
    untouched = before.keys() - set(map(str, expected))
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert schema_lines(committed_db.url) == schema
    assert LogEntry.objects.filter(event="brought back").count() == 1
    assert activity_log.verify().broken is None
