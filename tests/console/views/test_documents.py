"""The pages of the documents that the console carries."""

import re

from django.test import Client

from rollout.journal.runbook import Entry
from tests.console.journal import text_of

RUNBOOK = "/rollout/runbook/"


def test_every_entry_of_the_runbook_stands_on_its_page_under_its_anchor(viewer: Client) -> None:
    page = text_of(viewer, RUNBOOK)
    anchors = re.findall(r'<section class="card prose" id="([^"]+)"', page)
    assert set(Entry) <= set(anchors)
    assert len(anchors) == len(set(anchors))
    for entry in Entry:
        (section,) = re.findall(rf'id="{entry.value}" .*?</section>', page, re.DOTALL)
        for part in ("Severity", "You see", "Why", "Do", "Be sure", "Way back"):
            assert f"<strong>{part}" in section, (entry, part)


def test_every_link_of_the_runbook_leads_to_an_entry_and_no_mark_is_left(viewer: Client) -> None:
    page = text_of(viewer, RUNBOOK).partition("<main")[2].partition("</main>")[0]
    links = re.findall(r'<a href="#([^"]+)">', page)
    assert links
    assert set(links) <= {*re.findall(r'id="([^"]+)"', page)}
    prose = re.sub(r"<(code|pre)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"\*\*|`|\]\(|^\s*\|", prose, re.MULTILINE)
    tables = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    assert tables
    for table in tables:
        rows = re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[hd]\b", row)) for row in rows}) == 1, table[:200]


def test_each_page_leads_to_the_glossary_and_the_runbook(viewer: Client) -> None:
    foot = text_of(viewer, "/rollout/").partition("<footer")[2]
    assert 'href="/rollout/glossary/">Glossary<' in foot
    assert f'href="{RUNBOOK}">Runbook<' in foot
    assert "Triggers keep legacy and new columns in step" in text_of(viewer, "/rollout/glossary/")
