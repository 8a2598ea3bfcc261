"""The schema page: expected and found, or one environment and another, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.servers import Database

if TYPE_CHECKING:
    from django.test import Client


@pytest.fixture
def viewer_browser(committed_db: Database) -> Client:
    from tests.console import journal

    return journal.browser_of("viewer")


def page(browser: Client, **query: str) -> str:
    from tests.console.journal import PAGE, text_of

    return text_of(browser, f"{PAGE}schema/", **query)


def test_a_schema_without_drift_says_so_and_shows_both_sides(viewer_browser: Client) -> None:
    text = page(viewer_browser)
    assert "No schema drift" in text
    assert text.count("<code>numeric(12,2)</code>") == 2
    assert "btree (type, status), valid" in text
    assert 'class="bad"' not in text


def test_differences_are_marked_and_put_in_words(viewer_browser: Client) -> None:
    from tests.support import rollouts

    rollouts.execute("ALTER TABLE properties ALTER city TYPE varchar(80)")
    rollouts.execute("DROP INDEX properties_type_status_idx")
    rollouts.execute("ALTER TABLE properties ADD colour text")
    text = page(viewer_browser)
    assert "2 differences" in text
    assert text.count('<tr class="bad">') == 2
    differing, _, same = text.partition("Show what is the same")
    assert "btree (type, status), valid" in differing
    assert "numeric(12,2)" not in differing
    assert "numeric(12,2)" in same
    assert "<strong>missing</strong>" in text
    assert "<strong>different</strong>" in text
    assert "not in plan" in text


def test_a_table_that_is_gone_is_marked(viewer_browser: Client) -> None:
    from tests.support import rollouts

    rollouts.execute("DROP TABLE property_images")
    text = page(viewer_browser)
    assert "1 difference<" in text
    assert '<span class="badge tone-bad">Missing</span>' in text


def test_environments_are_shown_side_by_side(
    viewer_browser: Client, settings: Any, template: str
) -> None:
    from tests.support.staging import staging_environment

    with staging_environment(settings, template) as staging:
        assert 'href="?against=staging"' in page(viewer_browser)
        assert "No schema drift" in page(viewer_browser, against="staging")
        staging.execute("ALTER TABLE properties ADD colour text")
        text = page(viewer_browser, against="staging")
    assert "production has <strong>no column</strong>, staging has <strong>text</strong>" in text
    assert "<strong>unexpected</strong>" in text


def test_the_rollouts_page_leads_to_it(viewer_browser: Client) -> None:
    from tests.console.journal import PAGE, text_of

    assert f'href="{PAGE}schema/"' in text_of(viewer_browser, PAGE)
