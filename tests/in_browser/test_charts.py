"""Charts by pointer and by keyboard: the values of each moment, also after the page has changed."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from tests.console import journal
from tests.console.journal import PAGE
from tests.in_browser.visiting import Site
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")


def test_arrow_keys_and_pointer_read_the_values_of_a_chart(site: Site, database: Database) -> None:
    for minutes in range(2, 8):
        journal.measured(timezone.now() - timedelta(minutes=minutes), ms=10 * minutes, seconds=5)
    with site.visitor("viewer") as viewer:
        viewer.open(f"{PAGE}monitoring/?hours=0.25")
        box = viewer.page.locator(".plot-box").first
        slider, reading = box.get_by_role("slider"), box.locator(".reading p")
        assert not reading.is_visible()
        slider.focus()
        latest = reading.inner_text()
        viewer.page.keyboard.press("ArrowLeft")
        before = reading.inner_text()
        assert before != latest
        assert slider.get_attribute("aria-valuetext") == before.replace("\n", ", ")
        viewer.page.evaluate("document.dispatchEvent(new CustomEvent('rollout:changed'))")
        assert reading.inner_text() == before
        viewer.page.keyboard.press("Tab")
        viewer.page.mouse.move(0, 0)
        where = box.bounding_box()
        assert where is not None
        viewer.page.mouse.move(where["x"] + where["width"] / 2, where["y"] + 5)
        expect(reading).to_contain_text("p95")
        # All charts of the section.
        expect(viewer.page.locator(".reading.shown").nth(1)).to_be_visible()
        assert not viewer.barriers()
        assert not viewer.problems
