"""The rollout forward and back by real workers, of which one is killed, while releases write."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

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
from tests.support.dying_workers import SLOW, die_in_a_pass
from tests.support.processes import manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

WRITTEN_ROWS = 20
PRICES = "SELECT jsonb_object_agg(id, price) FROM offers"
# What people decide that texts mean; all others are no price.
MEANINGS = {"1.2m": "120000000", "850k": "85000000"}


def by_sql(statement: str) -> Callable[[int, int], None]:
    """How a release writes that never heard of modes."""

    def write(key: int, cents: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"key": key, "cents": cents, "text": f" {cents / 100:,.2f}"})

    return write


# By the names that the columns have before the cutover, and from it on.
OLD = by_sql("UPDATE offers SET price = %(text)s WHERE id = %(key)s")
NEW = by_sql("UPDATE offers SET price_cents = %(cents)s WHERE id = %(key)s")
OLD_AFTER = by_sql("UPDATE offers SET price_legacy = %(text)s WHERE id = %(key)s")
NEW_AFTER = by_sql("UPDATE offers SET price = %(cents)s WHERE id = %(key)s")


def application(key: int, cents: int) -> None:
    """The one release that works in every phase."""
    book.change_price(key, f"${cents / 100:,.2f}")


class Release(threading.Thread):
    """Writes the prices of offers of its own until it is retired."""

    releases = 0

    def __init__(self, write: Callable[[int, int], None]) -> None:
        super().__init__(daemon=True)
        first = 100 + Release.releases * WRITTEN_ROWS
        Release.releases += 1
        self.keys = range(first, first + WRITTEN_ROWS)
        self.cents: dict[int, int] = {}
        self.errors: list[str] = []
        self._write = write
        self._retired = threading.Event()
        self.start()

    def run(self) -> None:
        number = 0
        try:
            while not self._retired.wait(0.01):
                number += 1
                key, cents = self.keys[number % WRITTEN_ROWS], 100_000 + number
                try:
                    self._write(key, cents)
                except Exception:
                    self.errors.append(traceback.format_exc())
                else:
                    self.cents[key] = cents
        finally:
            connection.close()

    def retire(self) -> dict[int, int]:
        """Stop once each row was written; what was written last to each."""
        wait_until(lambda: self.errors != [] or len(self.cents) == WRITTEN_ROWS)
        self._retired.set()
        self.join()
        assert self.errors == []
        return self.cents


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
    rollout, env = offer_prices, committed_db.env(DEMO="1", LOG_LEVEL="INFO")
    rollouts.execute(SLOW.format(table="offers", few=5))
    before, schema = rollouts.ask(PRICES), schema_lines(committed_db.url)
    with (
        stopped_after(manage_process("rollout", "watchdog", env=env, log=tmp_path / "dog.log")),
        stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")),
    ):
        running, old = Release(application), Release(OLD)
        for phase in (0, 1):
            wait_for(rollouts.start(rollout, phase), RunState.DONE)
        decide(rollout)
        die_in_a_pass(lambda: rollouts.start(rollout, 2), "fill", rows=OFFERS)
        expected = Release(NEW).retire() | old.retire()
        wait_for(rollouts.start(rollout, 3), RunState.DONE)
        new = Release(NEW_AFTER)
        expected |= Release(OLD_AFTER).retire()
        verified_snapshot(rollout)
        wait_for(rollouts.start(rollout, 4), RunState.DONE)
        wait_for(runner.roll_back(rollout, 4, actor=ADA), RunState.DONE)
        expected |= Release(OLD_AFTER).retire() | new.retire()
        wait_for(runner.roll_back(rollout, 3, actor=ADA), RunState.DONE)
        old = Release(OLD)
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
