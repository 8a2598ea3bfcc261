"""The demo's guide, walked by its buttons alone: one log-in, and few clicks to phase 4 and back."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from config.prepare import make_people
from properties.transition.models import LegacyProperty
from rollout.models import RollbackChain
from tests.console import journal
from tests.in_browser.visiting import Site, Walk
from tests.support import rollouts
from tests.support.demo_sites import demo_template
from tests.support.intervals import QUICK_SITE
from tests.support.processes import wait_until
from tests.support.servers import Database, database_of_its_own

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("in_browser")
PASSWORD = "of-this-story"


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = str(tmp_path_factory.mktemp("home"))
    return {"DEMO": "1", "ROLLOUT_HOME": home, **QUICK_SITE}


@pytest.fixture(scope="module")
def database(template: str, django_db_blocker: "DjangoDbBlocker") -> Iterator[Database]:
    with (
        django_db_blocker.unblock(),
        database_of_its_own(demo_template(template)) as database,
    ):
        yield database


def test_the_guide_leads_to_phase_4_and_back_in_14_clicks_and_one_log_in(
    site: Site, database: Database, worker: None
) -> None:
    rollouts.load_listings(300)
    make_people(PASSWORD)
    # The one press that this leaves out.
    journal.rehearsed(journal.taken(journal.the_rollout()))
    with site.visitor() as lead:
        lead.open(journal.PAGE)
        lead.page.locator("input[name=username]").fill("lead")
        lead.page.locator("input[name=password]").fill(PASSWORD)
        lead.press("Log in")
        guide = lead.page.locator(".guide")
        walk = Walk(lead)

        def press(label: str) -> None:
            walk.click(guide.get_by_text(label, exact=True))

        with lead.page.context.expect_page() as listings:
            press("Open the listings")
        listings.value.close()
        for label in (
            *("Start phase 0 now", "Map it, confirm the rest", "Mark both done"),
            *("Start phase 1 now", "Start phase 2 now", "Plant 12 rows and audit", "Repair them"),
        ):
            if label == "Start phase 2 now":
                # As the demo's traffic does after the review.
                oldest = LegacyProperty.objects.earliest("pk")
                LegacyProperty.objects.filter(pk=oldest.pk).update(type="Yurt")
            press(label)
        press("Confirm values, request approval")
        lead.page.get_by_text("1 value confirmed.").wait_for()
        press("Approve phases 3 and 4 as lead2")
        for number in (3, 4):
            if number == 4:
                press("Prepare phase 4")
            lead.page.locator("#typed").fill(journal.PLAN, timeout=60_000)
            walk.press(f"Start phase {number} in production")
        guide.get_by_text("Roll back all phases…").wait_for(timeout=60_000)
        assert walk.clicks + 1 <= 14
        assert lead.barriers() == []
        press("Roll back all phases…")
        lead.page.locator("#typed").fill(journal.PLAN)
        walk.press("Roll back all phases in production")
        is_back = RollbackChain.objects.filter(to_phase=-1, state="done").exists
        wait_until(is_back, seconds=120, seen=lambda: lead.text)
        lead.open(journal.PAGE)
        guide.get_by_text("11 of 11 done").wait_for()
        lead.open("/rollout/")
        lead.press("Offer prices", role="link")
        lead.page.get_by_role("heading", name="Offer prices").wait_for()
        assert "Guide to this demo" not in lead.text
        assert not lead.problems
