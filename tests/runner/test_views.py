"""Materialized views are brought up to date for as long as their phase stands."""

from rollout.models import Rollout
from rollout.runner.views import Refresher, refresh
from tests import rollouts

VIEW = "listing-counts"
COUNTED = "SELECT coalesce(sum(listings), 0)::int FROM property_listing_counts"


def test_a_view_is_refreshed_while_its_phase_is_done_and_left_alone_after_its_rollback(
    filled: Rollout,
) -> None:
    rollouts.carry_out(filled, 3)
    Refresher().send_due()
    assert rollouts.queued() == []
    rollouts.carry_out(filled, 4)
    with rollouts.target() as application:
        application.execute("DELETE FROM properties WHERE id = (SELECT id FROM properties LIMIT 1)")
    assert rollouts.ask(COUNTED) == 300
    refresher = Refresher()
    refresher.send_due()
    refresher.send_due()
    (message,) = rollouts.queued()
    rollouts.work()
    assert rollouts.ask(COUNTED) == 299
    rollouts.carry_back(filled, 4)
    message.deliver()
    refresh(filled.pk, VIEW)
    assert rollouts.ask("SELECT to_regclass('property_listing_counts') IS NULL")
