"""What the mapping review offers for several values at once: previewed, recorded, and undone."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING

from django.test import Client

from tests.console.journal import PAGE, browser_of, text_of
from tests.console.views.mapping_pages import TYPES, applied_by, decisions_in

if TYPE_CHECKING:
    from rollout.models import Rollout


def offered(page: str, label: str) -> str:
    """The decisions of the button with that label."""
    button = re.search(rf'name="decisions" type="submit" value="([^"]*)">{label}</button>', page)
    assert button is not None, f"no button {label}"
    return unescape(button[1])


def send(browser: Client, **fields: str) -> str:
    response = browser.post(f"{TYPES}preview/", fields)
    assert response.status_code == 200, response
    return response.content.decode()


def applied(browser: Client, page: str) -> None:
    sent = applied_by(page)
    assert browser.post(f"{TYPES}apply/", sent).status_code == 302


def test_look_alikes_are_joined_to_the_leading_spelling_after_a_preview_and_apart_by_undo(
    reviewer: Client,
) -> None:
    from tests.support import rollouts

    rollouts.execute("UPDATE properties SET type = 'Townhouse' WHERE type = 'Townhouse for sale'")
    rollouts.execute("UPDATE properties SET type = 'Tow\u200bnhouse' WHERE type = 'Town house'")
    decisions = offered(text_of(reviewer, TYPES), "Join 1 look-alike to “Townhouse”")
    assert json.loads(decisions) == [["tow\u200bnhouse", "Townhouse", False]]
    page = send(reviewer, decisions=decisions)
    rows = rollouts.ask("SELECT count(*) FROM properties WHERE type = 'Tow\u200bnhouse'")
    assert rows > 0
    assert f'<td class="number" data-label="Rows">{rows}</td>' in page
    applied(reviewer, page)
    after = text_of(reviewer, TYPES)
    assert "Set by <strong>engineer</strong>" in after
    assert "to “Townhouse”" not in after

    undone = send(reviewer, decisions=offered(after, "Undo…"))
    applied(reviewer, undone)
    again = text_of(reviewer, TYPES)
    assert "Set by <strong>engineer</strong>" not in again
    assert "Join 1 look-alike to “Townhouse”" in again


def test_suggestions_from_a_similarity_on_are_accepted_and_counted_beforehand(
    reviewer: Client,
) -> None:
    page = text_of(reviewer, TYPES)
    choices = {
        int(similarity): (int(values), int(rows.replace(",", "")))
        for similarity, values, rows in re.findall(
            r'<option value="(\d+)"[^>]*>(?:\d+ % similarity|All):'
            r"\s+(\d+) values?, ([\d,]+) rows?<",
            page,
        )
    }
    assert choices
    assert choices == dict(sorted(choices.items(), key=lambda c: c[1]))
    assert max(values for values, _ in choices.values()) == page.count("Suggested:")
    for similarity, (values, rows) in choices.items():
        preview = send(reviewer, bulk="similar", similarity=str(similarity))
        assert len(decisions_in(preview)) == values
        changes = preview.partition('id="changes"')[2]
        counted = re.findall(r'<td class="number" data-label="Rows">([\d,]+)</td>', changes)
        assert sum(int(number.replace(",", "")) for number in counted) == rows
    applied(reviewer, preview)
    assert text_of(reviewer, TYPES).count("Set by <strong>engineer</strong>") == values


def test_a_similarity_that_nobody_offered_is_the_default(reviewer: Client) -> None:
    expected = decisions_in(send(reviewer, bulk="similar", similarity="85"))
    for similarity in ("1", "1e9", "", "x"):
        assert decisions_in(send(reviewer, bulk="similar", similarity=similarity)) == expected


def test_undo_gives_back_what_another_person_had_decided(reviewer: Client) -> None:
    for text, name in (("Loft", "Attic"), ("Loft", "Penthouse")):
        carried = json.dumps([[text.lower(), name, False]])
        applied(reviewer, send(reviewer, decisions=carried))
    page = send(reviewer, decisions=offered(text_of(reviewer, TYPES), "Undo…"))
    assert decisions_in(page) == [["loft", "Attic", False]]


def marks_in(page: str) -> str:
    return page.partition('name="shown" value="')[2].partition('"')[0]


def test_confirming_all_leaves_open_what_came_since_and_names_it(
    filled: Rollout, reviewer: Client
) -> None:
    from rollout.models import MappingChange
    from tests.support import rollouts

    marks = marks_in(text_of(reviewer, f"{TYPES}?show=open"))
    rollouts.execute("UPDATE properties SET type = 'Moon base 1' WHERE type = 'Loft'")
    sent = {"bulk": "all", "shown": marks}
    response = reviewer.post(f"{TYPES}preview/", sent, follow=True)
    change, page = MappingChange.objects.get(), response.content.decode()
    assert change.decided == len(marks.split())
    assert f"{change.decided} values of properties.type reviewed; no mapping changed." in page
    assert "1 value has come since the page loaded and stays open: “Moon base 1”." in page
    assert "Confirm the one open value" in page

    again = reviewer.post(f"{TYPES}preview/", sent, follow=True).content.decode()
    assert "“Moon base 1”" in again
    assert f"{change.decided} values are no longer open: decided on meanwhile" in again
    assert MappingChange.objects.count() == 1, "nothing that the page showed was open"


def test_confirming_all_decides_what_the_filter_shows_alone(reviewer: Client) -> None:
    from rollout.models import MappingChange

    marks = marks_in(text_of(reviewer, f"{TYPES}?q=condo"))
    number = len(marks.split())
    assert 0 < number < 10
    reviewer.post(f"{TYPES}preview/?q=condo", {"bulk": "all", "shown": marks})
    assert MappingChange.objects.get().decided == number


def test_a_viewer_is_offered_nothing(properties: Rollout) -> None:
    page = text_of(browser_of("viewer"), TYPES)
    assert "Decide several at once" not in page
    assert "Undo" not in page
    assert PAGE in page
