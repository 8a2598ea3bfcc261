"""Estimates that a worker makes before a phase that goes over tables."""

import pytest

from rollout.models import BackfillEstimate
from tests.console import journal
from tests.console.journal import PAGE, text_of
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.support.servers import Database

START = f"{PAGE}phases/2/start/"


@pytest.mark.parametrize("delivered", [1, 2])
def test_a_worker_makes_the_estimate_and_leaves_no_trace(
    committed_db: Database, delivered: int
) -> None:
    from rollout.runner import estimates

    rollouts.load_listings(2000)
    rollout = rollouts.the_rollout()
    lead = journal.browser_of("lead")
    rollouts.carry_out(rollout, 0, 1)
    text = text_of(lead, START)
    assert "stripes of about" in text
    assert "No index covers a written column" in text
    estimates.ask_for(rollout, 2, actor=ADA)
    for message in rollouts.queued():
        for _ in range(delivered):
            message.deliver()
    fill, compute = BackfillEstimate.objects.order_by("pk")
    assert (fill.error, compute.error) == ("", "")
    assert 1_800 < (fill.rows or 0) < 2_200
    assert fill.sampled_rows
    assert fill.seconds
    assert fill.wal_bytes
    assert compute.seconds is None
    assert compute.rows is not None
    assert rollouts.ask("SELECT count(*) FROM properties WHERE property_type_id IS NOT NULL") == 0
    text = text_of(lead, START)
    assert "rolled back; ada, <span data-ago=" in text
    assert "the duration depends on the Python function and can't be estimated" in text


def test_an_estimate_before_the_columns_are_there_says_so(committed_db: Database) -> None:
    from rollout.runner import estimates

    rollout = rollouts.the_rollout()
    estimates.ask_for(rollout, 2, actor=ADA)
    rollouts.work()
    errors = {e.error for e in BackfillEstimate.objects.all()}
    assert "The new columns of properties do not exist yet." in errors
