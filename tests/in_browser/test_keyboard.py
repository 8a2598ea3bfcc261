"""Lists and the mapping review by the keyboard alone."""

import pytest

from tests.console.journal import PAGE
from tests.in_browser.visiting import Site
from tests.support import rollouts
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")


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
