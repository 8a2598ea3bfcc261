"""Decisions on mappings: previewed before they are applied, and nothing typed is lost."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings

from tests.console.journal import seen_in, text_of
from tests.console.views.mapping_pages import (
    HOSTILE,
    LIST,
    TYPES,
    applied_by,
    decisions_in,
    fields_of,
    number_of,
    preview,
    values_in,
)

if TYPE_CHECKING:
    from rollout.models import Rollout


def test_before_phase_2_a_decision_says_that_phase_2_will_follow_it(
    properties: Rollout, reviewer: Client
) -> None:
    from tests.support import rollouts

    slip = preview(reviewer, apt="Apartmnt")
    assert "New lookup rows, which no other value maps to</dt><dd><strong>Apartmnt<" in slip
    assert ">new lookup row</span>" in slip
    page = preview(reviewer, apt="Apartment")
    assert "ew lookup row" not in page
    assert "Phase 2 has not run yet" in page
    rows = rollouts.ask("SELECT count(*) FROM properties WHERE lower(trim(type)) = 'apt'")
    assert re.search(rf'<dt>Rows that phase 2 fills by it</dt>\s*<dd class="number">{rows}<', page)
    assert "rows to update" not in page
    sent = applied_by(page)
    text = reviewer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "1 value of properties.type reviewed, " in text
    assert " mapped differently. Phase 2 will use it." in text
    assert "New writes use it" not in text

    # What is taken back is not reviewed, on any page.
    fields = fields_of(text_of(reviewer, TYPES))
    ticked = {**fields, "chosen": [number_of(fields, "apt")], "bulk": "default"}
    page = reviewer.post(f"{TYPES}preview/", ticked).content.decode()
    assert "<dt>Values reset to the plan's default</dt>" in page
    text = reviewer.post(f"{TYPES}apply/", applied_by(page), follow=True).content.decode()
    assert "1 value of properties.type reset to the plan&#x27;s default, " in text
    assert "1 value reset to the plan's default, " in text


def test_typed_decisions_are_previewed_recorded_by_name_and_listed(
    filled: Rollout, reviewer: Client
) -> None:
    from rollout.models import MappingChange

    page = preview(reviewer, apt="Apartment", condominium="Condo")
    assert "Apply changes" in page
    assert "Lookup rows retired" in page
    assert not MappingChange.objects.exists()
    sent = applied_by(page)
    unread = reviewer.post(f"{TYPES}apply/", {**sent, "seen": ""})
    assert unread.status_code == 409
    assert "Preview the change again." in unread.content.decode()
    assert not MappingChange.objects.exists()
    response = reviewer.post(f"{TYPES}apply/", sent, follow=True)
    change = MappingChange.objects.get()
    assert change.reviewer == "engineer"
    text = response.content.decode()
    assert f"Update {change.rows_affected}" in text
    assert "Set by <strong>engineer</strong>" in text
    again = reviewer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "already has this mapping" in again
    assert MappingChange.objects.count() == 1
    correct = text_of(reviewer, f"/rollout/mapping-changes/{change.pk}/correct/")
    assert f"{change.rows_affected} row" in correct
    assert reviewer.post(f"/rollout/mapping-changes/{change.pk}/correct/").status_code == 302
    assert change.repairs.exists()


@pytest.mark.parametrize(
    ("bulk", "expected"),
    [
        ("to", ["home", False]),
        ("like", ["house", False]),
        ("none", [None, False]),
        ("default", [None, True]),
        ("keep", ["house for sale", False]),
    ],
)
def test_all_that_are_ticked_can_be_decided_at_once(
    reviewer: Client, bulk: str, expected: list[object]
) -> None:
    fields = fields_of(text_of(reviewer, TYPES))
    number = number_of(fields, "house for sale")
    sent = {**fields, "chosen": [number], "bulk": bulk, "to": "Home"}
    page = reviewer.post(f"{TYPES}preview/", sent).content.decode()
    ((form, name, by_default),) = decisions_in(page)
    assert form == "house for sale"
    assert [name and str(name).lower(), by_default] == expected


def test_a_press_without_a_change_goes_back_and_says_so(reviewer: Client) -> None:
    fields = fields_of(text_of(reviewer, TYPES))
    response = reviewer.post(f"{TYPES}preview/", fields, follow=True)
    assert "Change a value first." in response.content.decode()


def test_a_refused_decision_comes_back_with_all_that_was_typed(reviewer: Client) -> None:
    fields = fields_of(text_of(reviewer, TYPES))
    house, villa = number_of(fields, "house"), number_of(fields, "villa")
    fields |= {f"name-{house}": "Villa", f"name-{villa}": "Country house"}
    response = reviewer.post(f"{TYPES}preview/", fields)
    assert response.status_code == 422
    text = response.content.decode()
    assert "Not saved." in text
    assert "the value “Villa” itself maps to" in text
    kept = fields_of(text)
    assert kept[f"name-{number_of(kept, 'house')}"] == "Villa"
    assert kept[f"name-{number_of(kept, 'villa')}"] == "Country house"


def test_a_changed_preview_is_filled_in_again(reviewer: Client) -> None:
    page = preview(reviewer, apt="Apartment")
    sent = {"decisions": json.dumps(decisions_in(page)), "edit": "1"}
    kept = fields_of(reviewer.post(f"{TYPES}preview/", sent).content.decode())
    assert kept[f"name-{number_of(kept, 'apt')}"] == "Apartment"


def test_a_file_comes_back_as_a_preview(reviewer: Client) -> None:
    lines = b"".join(reviewer.get(f"{TYPES}export.csv").streaming_content)  # type: ignore[attr-defined]
    assert lines.startswith(b"legacy,rows,lookup,why,decided_by\r\n")
    unchanged = {"file": SimpleUploadedFile("mapping.csv", lines)}
    answer = reviewer.post(f"{TYPES}preview/", unchanged, follow=True).content.decode()
    assert "No changes to preview: the file was read, and decides nothing" in answer
    changed = lines.replace(b",Villa,", b",Country house,")
    page = reviewer.post(
        f"{TYPES}preview/", {"file": SimpleUploadedFile("mapping.csv", changed)}
    ).content.decode()
    assert "Country house" in page
    assert "Apply changes" in page


def test_the_wrong_lines_of_a_file_are_listed(reviewer: Client) -> None:
    data = SimpleUploadedFile("m.csv", f"legacy,lookup\r\n{HOSTILE},x\r\n".encode())
    response = reviewer.post(f"{TYPES}preview/", {"file": data})
    assert response.status_code == 422
    text = response.content.decode()
    assert "Line 2: " in text
    assert "<img src=x" not in text


@pytest.mark.parametrize("made_up", ["{", "[1]", '{"a": 1}', "null", "[[]]", '[["a", {}, 1]]'])
def test_a_form_that_no_preview_wrote_decides_nothing(reviewer: Client, made_up: str) -> None:
    from rollout.models import MappingChange

    response = reviewer.post(f"{TYPES}apply/", {"decisions": made_up, "seen": "x"})
    assert response.status_code in (302, 409)
    assert not MappingChange.objects.exists()


def test_a_decision_keeps_the_filter_and_the_page(reviewer: Client) -> None:
    at = "?show=open&order=a-to-z&after=castle"
    text = text_of(reviewer, TYPES + at)
    fields = fields_of(text.partition("<tbody>")[2])
    fields[f"name-{number_of(fields, 'villa')}"] = "Country house"
    page = reviewer.post(f"{TYPES}preview/{at}", fields).content.decode()
    here = at.replace("&", "&amp;")
    assert f'action="{TYPES}apply/{here}"' in page
    assert f'href="{TYPES}{here}"' in page
    sent = {"decisions": json.dumps(decisions_in(page))}
    edited = reviewer.post(f"{TYPES}preview/{at}", {**sent, "edit": "1"}).content.decode()
    assert values_in(edited)[0] == "Villa"
    assert values_in(edited)[1:] == [value for value in values_in(text) if value != "Villa"]
    assert f'href="{TYPES}?show=open&amp;order=z-to-a"' in edited
    done = reviewer.post(f"{TYPES}apply/{at}", {**sent, "seen": seen_in(page)})
    assert (done.status_code, done["Location"]) == (302, TYPES + at)
    nothing = reviewer.post(f"{TYPES}preview/{at}", {})
    assert nothing["Location"] == TYPES + at


@pytest.mark.usefixtures("shared_parts")
def test_the_tab_counts_at_once_what_a_decision_leaves_open(
    filled: Rollout, reviewer: Client
) -> None:
    def still_open() -> int:
        badge = re.search(
            r"(\d+)<span class=.visually-hidden.> open values", text_of(reviewer, LIST)
        )
        assert badge is not None
        return int(badge[1])

    before = still_open()
    sent = applied_by(preview(reviewer, loft="House"))
    assert reviewer.post(f"{TYPES}apply/", sent).status_code == 302
    assert still_open() == before - 1
    # Another process of the console, with a cache of its own, took the next decision.
    sent = applied_by(preview(reviewer, villa="House"))
    backend = "django.core.cache.backends.locmem.LocMemCache"
    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": "another"}}):
        assert reviewer.post(f"{TYPES}apply/", sent).status_code == 302
    assert still_open() == before - 2
