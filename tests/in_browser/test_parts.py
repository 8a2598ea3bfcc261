"""Charts, headers, lists and live parts in Chromium, by pointer and by the keyboard alone.

They share a site without a worker: charts and headers need few rows, keys come with listings, and
at the end the database goes, for which a worker would wait ten seconds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone
from playwright.sync_api import expect

from config import embedded
from rollout.models import PhaseRun
from tests.console import journal
from tests.console.journal import PAGE
from tests.in_browser.visiting import Site, Visitor
from tests.support import rollouts
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


def test_a_page_follows_within_a_second_what_somebody_started(
    site: Site, database: Database
) -> None:
    run, page = journal.ran(journal.the_rollout(), 2, "queued"), f"{PAGE}phases/2/"

    def asks_within_a_second(visitor: Visitor) -> None:
        """By the page's own clock, which stands still but for this."""
        visitor.page.locator(".htmx-request").first.wait_for(state="detached")
        with visitor.page.expect_response(
            lambda answer: answer.url.endswith(page) and "hx-request" in answer.request.headers
        ):
            visitor.page.clock.run_for(1500)
        visitor.page.clock.run_for(100)

    with site.visitor("lead") as lead:
        lead.page.clock.install(time=0)
        lead.open(page)
        # Nobody has done anything for long, and still no worker has begun.
        lead.page.clock.pause_at(600_000)
        asks_within_a_second(lead)
        PhaseRun.objects.filter(pk=run.pk).update(state="running", started_at=run.created_at)
        asks_within_a_second(lead)
        lead.page.locator("#rollout-now").get_by_text("Running").wait_for()
        asks_within_a_second(lead)
        assert not lead.problems
    run.delete()


def test_a_mapping_is_reviewed_by_the_keyboard_alone(site: Site, database: Database) -> None:
    rollouts.load_listings(20)
    for text, rows in (("Penthouze", 1), ("Penthouse", 5)):
        rollouts.execute(
            f"UPDATE properties SET type = '{text}' WHERE id IN (SELECT id FROM properties "
            f"WHERE type <> 'Penthouze' ORDER BY id LIMIT {rows})"
        )
    with site.visitor("engineer") as engineer:
        engineer.open(f"{PAGE}mappings/properties/type/?q=penthou")
        press, row = engineer.page.keyboard.press, engineer.page.locator("tr:focus")
        field = row.locator("input[type=text]")
        press("j")
        first = row.inner_text()
        press("j")
        second = row.inner_text()
        assert second != first
        press("ArrowUp")
        assert row.inner_text() == first
        press("ArrowDown")
        assert row.inner_text() == second
        assert row.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
        press("x")
        assert row.locator("input[type=checkbox]").is_checked()
        press("a")
        assert row.evaluate("it => it.classList.contains('changed')")
        assert field.input_value() == row.locator("[data-accept]").get_attribute("data-fill")
        press("Enter")
        engineer.page.keyboard.type("xjk?")
        assert engineer.page.evaluate("document.activeElement.value") == "xjk?"
        press("Enter")
        assert row.count() == 1, "back on the row"
        press("Control+k")
        # A letter that is typed sends a request, which the next one would abort.
        engineer.page.locator("#palette-text").evaluate("field => { field.value = 'audits' }")
        press("Escape")
        assert engineer.page.locator("#palette[open]").count() == 0
        assert row.inner_text() == second, "what the browser does with modifiers is its own"
        press("?")
        engineer.page.locator("#keys[open]").wait_for()
        assert engineer.barriers() == []
        press("Escape")
        press("p")
        engineer.reads("Preview. Nothing has been changed yet.")
        assert "xjk?" in engineer.text
        engineer.open("/rollout/")
        press("j")
        press("Enter")
        engineer.page.wait_for_url(f"**{PAGE}")
        assert not engineer.problems


@contextmanager
def closed(database: Database) -> Iterator[None]:
    """Nobody gets to the database meanwhile, and those who were there are thrown out."""
    name = database.url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(
        embedded.with_database(database.url, "postgres"), autocommit=True
    ) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        try:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def test_a_database_that_goes_and_comes_back_is_reported_and_seen_on_the_open_page(
    site: Site, database: Database
) -> None:
    with site.visitor("lead") as lead:
        lead.open(PAGE)
        with closed(database):
            lead.ask_again()
            lead.reads("Database unavailable.")
            assert "Property classification" in lead.text, "what was known stays"
        lead.ask_again()
        lead.page.get_by_text("Database unavailable.").wait_for(state="detached")
        assert all("503" in problem for problem in lead.problems), lead.problems
