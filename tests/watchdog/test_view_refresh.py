"""Materialized views are brought up to date for as long as their phase stands."""

from threading import Thread

from django.db import connections

from rollout.engine import ddl
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.actions import Statement
from rollout.watchdog.view_refresh import ViewRefresher, refresh, views_in_use
from tests.engine.actions import NoControl
from tests.support import rollouts
from tests.support.processes import wait_until

VIEW = "listing-counts"
WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'property_statuses'::regclass"
)
COUNTED = """
SELECT coalesce(sum(listings), 0)::int FROM property_listing_counts WHERE city IS NULL"""


def test_a_view_is_refreshed_while_its_phase_is_done_and_left_alone_after_its_rollback(
    enforced: Rollout,
) -> None:
    ViewRefresher().send_due()
    assert rollouts.queued() == []
    rollouts.carry_out(enforced, 4)
    with rollouts.target() as application:
        application.execute("DELETE FROM properties WHERE id = (SELECT id FROM properties LIMIT 1)")
    assert rollouts.ask(COUNTED) == 300
    refresher = ViewRefresher()
    refresher.send_due()
    refresher.send_due()
    (message,) = rollouts.queued()
    rollouts.work()
    assert rollouts.ask(COUNTED) == 299
    rollouts.carry_back(enforced, 4)
    message.deliver()
    refresh(enforced.pk, VIEW)
    assert rollouts.ask("SELECT to_regclass('property_listing_counts') IS NULL")


def test_a_refresh_that_takes_long_is_called_off_by_the_rollback(contracted: Rollout) -> None:
    (step,) = views_in_use(contracted)

    def refreshes() -> None:
        refresh(contracted.pk, VIEW)
        connections.close_all()

    refreshing = Thread(target=refreshes)
    with rollouts.locked("LOCK TABLE property_statuses"), rollouts.target() as engine:
        refreshing.start()
        wait_until(lambda: rollouts.ask(WAITING) == 1)
        (drop,) = step.backward(plans.get(contracted.plan))
        assert isinstance(drop, Statement)
        assert ddl.apply(engine, drop, NoControl())
        refreshing.join(60)
        assert not refreshing.is_alive()
