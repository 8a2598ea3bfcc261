"""The header of a rollout's pages: title, environments, state, buttons and tabs."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from rollout.console.headers import TABS
from rollout.models import Rollout
from tests.console import journal
from tests.console.journal import PAGE, text_of
from tests.support.pages import addresses_of_the_console

TITLE = "Property classification"
# Parts of addresses that are named otherwise than their tab.
TAB_BY_PART = {
    "production": "Overview",
    "phases": "Phases",
    "readiness": "Phases",
    "blockers": "Phases",
    "retry": "Phases",
    "cancel-run": "Phases",
    "mappings": "Mapping review",
    "mapping-changes": "Mapping review",
    "values": "Mapping review",
    "jobs": "Backfill jobs",
    "findings": "Audits",
    "checklist": "Phases",
    "leftovers": "Phases",
}
OF_NO_ROLLOUT = r"/rollout/((find|log|glossary|runbook|inbox|style|notifications|confirm)/.*)?"


def tabs_in(html: str) -> dict[str, str]:
    """The label of each tab, with its count, and its aria-current."""
    nav = html.split('<nav class="tabs"')[1].split("</nav>")[0]
    links = re.findall(r'<a href="[^"]+"(?: aria-current="(\w+)")?>(.*?)</a>', nav, re.S)
    return {unescape(re.sub("<[^>]+>", "", label)).strip(): current for current, label in links}


def expected_tab(address: str) -> str:
    parts = address.removeprefix("/rollout/").removeprefix(f"{journal.PLAN}/").split("/")
    part = parts[1] if parts[0] == "production" and parts[1] else parts[0]
    return TAB_BY_PART.get(part, part.capitalize())


@pytest.mark.slow
def test_every_page_of_a_rollout_has_its_header_and_marks_its_tab(
    rollout: Rollout, lead: Client, settings: Any
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": journal.ONE_WEBHOOK}
    labels = [tab.label for tab in TABS.values()]
    opened = set()
    for address in addresses_of_the_console(rollout):
        html = text_of(lead, address)
        if re.fullmatch(OF_NO_ROLLOUT, address):
            assert 'class="rollout-head"' not in html, address
            continue
        tabs = tabs_in(html)
        assert [re.split(r" \d", label)[0] for label in tabs] == labels, address
        current = [label for label, now in tabs.items() if now]
        assert [re.split(r" \d", label)[0] for label in current] == [expected_tab(address)], address
        assert html.count("<h1") == 1, address
        assert not re.search(r"<h1>\s*:", html), address
        head = html.split('class="rollout-head"')[1].split("</section>")[0]
        assert TITLE in head, address
        assert 'aria-label="Breadcrumbs"' in head, address
        opened.add(expected_tab(address))
    assert opened == set(labels)


def test_a_header_leads_to_the_same_page_of_other_environments_and_to_none_that_is_not_seen(
    rollout: Rollout, lead: Client, settings: Any
) -> None:
    assert "Environment: " not in text_of(lead, PAGE)
    there = {"production": "default", "staging": "default"}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": there}
    report = journal.audited(rollout)
    elsewhere = PAGE.replace("/production/", "/staging/")
    for page, other in [
        (PAGE, elsewhere),
        (f"{PAGE}phases/2/", f"{elsewhere}phases/2/"),
        (f"{PAGE}phases/2/start/", f"{elsewhere}phases/2/"),
        (f"{PAGE}mappings/properties/type/", f"{elsewhere}mappings/properties/type/"),
        (f"/rollout/audits/{report.pk}/", f"{elsewhere}audits/"),
    ]:
        assert f'<li><a href="{other}">staging</a>' in text_of(lead, page), page
    of_production = journal.browser_of("lead:production")
    assert elsewhere not in text_of(of_production, PAGE)
