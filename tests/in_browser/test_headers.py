"""The header of a rollout's pages in Chromium."""

import pytest

from tests.console import journal
from tests.in_browser.visiting import Site
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")


def test_the_state_in_the_header_is_one_line_on_a_desk(site: Site, database: Database) -> None:
    run = journal.ran(journal.the_rollout(), 3, "running", worker="somewhere")
    job = journal.job_of(journal.reached(run, "backfill", "running"), scanned=0)
    with site.visitor("lead") as lead:
        lead.open(f"/rollout/jobs/{job.pk}/")
        height = lead.page.locator(".rollout-state").evaluate(
            "state => { state.insertAdjacentHTML('beforeend', '<progress></progress>"
            '<span class="small number">24.9%, about 40 s left</span>\'); '
            "return state.offsetHeight; }"
        )
        assert height < 40
        assert not lead.problems
    run.delete()
