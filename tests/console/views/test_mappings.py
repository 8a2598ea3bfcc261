"""The review of mappings in the browser: nothing applied unseen, nothing typed lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from tests.console.journal import browser_of, fragment_of, text_of
from tests.console.views.mapping_pages import (
    HOSTILE,
    LIST,
    TYPES,
    applied_by,
    decisions_in,
    fields_of,
    number_of,
    values_in,
)

if TYPE_CHECKING:
    from rollout.models import Rollout


def test_the_address_of_the_new_texts_leads_to_the_page_that_shows_them(
    filled: Rollout, reviewer: Client
) -> None:
    response = reviewer.get(f"{TYPES}new/")
    assert (response.status_code, response["Location"]) == (302, f"{TYPES}?show=new")
    assert "<html" in reviewer.get(f"{TYPES}new/", follow=True).content.decode()


def test_a_review_without_values_measures_no_progress(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, TYPES)
    assert "0 of 0" in text
    assert "<progress" not in text


def test_each_value_has_its_rows_what_it_becomes_and_why(reviewer: Client) -> None:
    text = text_of(reviewer, TYPES)
    fields = fields_of(text)
    number = number_of(fields, "house for sale")
    assert fields[f"name-{number}"] == "House for sale"
    assert fields[f"like-{number}"].lower() == "house"
    assert "starts with it" in text
    assert "spellings" in text


def test_placeholders_are_offered_no_value_and_progress_counts_what_people_reviewed(
    filled: Rollout, reviewer: Client
) -> None:
    from tests.support import rollouts

    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = 'n/a' WHERE id ="
            " (SELECT id FROM properties ORDER BY id LIMIT 1)"
        )
    text = text_of(reviewer, TYPES)
    fields = fields_of(text)
    number = number_of(fields, "n/a")
    assert fields[f"like-{number}"] == ""
    assert ">no value</button> (placeholder)" in text
    of = re.search(r"<dd class=\"number\">0 of (\d+) ", text)
    assert of is not None
    sent = {**fields, "chosen": [number], "bulk": "like"}
    shown = reviewer.post(f"{TYPES}preview/", sent).content.decode()
    assert decisions_in(shown) == [["n/a", None, False]]
    typed = reviewer.post(f"{TYPES}preview/", {**fields, f"name-{number}": ""}).content.decode()
    assert decisions_in(typed) == decisions_in(shown), "an emptied field means no value"
    sent = applied_by(shown)
    after = reviewer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert f'<dd class="number">1 of {of[1]} ' in after


def test_a_viewer_reads_and_has_no_fields(properties: Rollout) -> None:
    text = text_of(browser_of("viewer"), TYPES)
    assert "House for sale" in text
    assert 'name="name-' not in text
    assert 'type="file"' not in text


def test_later_writes_of_the_application_are_shown_when_the_page_polls(
    filled: Rollout, reviewer: Client
) -> None:
    from tests.support import rollouts

    address = f"{TYPES}new/"
    assert "to review" not in fragment_of(reviewer, address)
    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = %s WHERE id = (SELECT min(id::text)::uuid"
            " FROM properties)",
            [HOSTILE],
        )
    text = fragment_of(reviewer, address)
    assert "1 new value to review" in text
    assert "<img src=x" not in text
    listed = text_of(reviewer, LIST)
    now_open = re.search(r"(\d+), 1 of them new", listed)
    assert now_open is not None
    assert f"Review {now_open[1]} open" in listed
    assert f">Show {now_open[1]} open</a>" in text_of(reviewer, TYPES)
    assert "&lt;img src=x" in text_of(reviewer, f"{TYPES}?show=new")
    assert (
        "Villa"
        not in text_of(reviewer, f"{TYPES}?show=new")
        .partition("<tbody>")[2]
        .partition("</tbody>")[0]
    )


@pytest.mark.parametrize(
    ("asked", "is_there"),
    [
        ("?q=villa", True),
        ("?show=similar", False),
        ("?show=open", True),
        ("?show=unmapped", False),
        ("?why=exact", True),
        ("?why=synonym", False),
        ("?order=a-to-z&after=vill", True),
        ("?order=z-to-a&after=vill", False),
    ],
)
def test_values_can_be_found(reviewer: Client, asked: str, is_there: bool) -> None:
    assert ("Villa" in values_in(text_of(reviewer, TYPES + asked))) == is_there


def test_the_page_is_read_only_during_a_run_and_says_why(
    properties: Rollout, reviewer: Client
) -> None:
    from tests.console.journal import ran

    ran(properties, 0, "running")
    text = text_of(reviewer, TYPES)
    assert "is running" in text
    assert 'name="name-' not in text
