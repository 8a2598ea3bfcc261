"""The review of mappings in the browser: nothing applied unseen, nothing typed lost."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.test import Client

from tests.console.journal import browser_of, fragment_of, reviewed, text_of
from tests.console.views.mapping_pages import (
    HOSTILE,
    LIST,
    TYPES,
    applied_by,
    decisions_in,
    fields_of,
    number_of,
    take_long_to_count,
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


def test_after_phase_4_a_review_says_that_its_values_are_archived_and_nothing_fails(
    contracted: Rollout,
) -> None:
    viewer = browser_of("viewer")
    for page in (LIST, TYPES):
        text = text_of(viewer, page)
        assert ("legacy values are archived" in text) == (page == TYPES)
        assert "Couldn't load" not in text
        assert "does not exist" not in text, page
    assert "<h1>Mapping review: <code>properties.type</code></h1>" in text_of(viewer, TYPES)


def test_every_lookup_of_the_plan_is_listed(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, LIST)
    for shown in (
        "properties.type",
        "property_statuses",
        "Not in use yet (from phase 2",
        "Values that rows have now",
        "never",
    ):
        assert shown in text
    reviewed(rollout)
    assert "grace" in fragment_of(viewer, LIST)


@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize("page", [LIST, TYPES])
def test_a_page_connects_to_the_database_once_however_many_lookups_there_are(
    filled: Rollout, reviewer: Client, page: str
) -> None:
    text_of(reviewer, page)  # What the header counts is kept.
    connected, connect = [], psycopg.connect

    def counting(**parameters: Any) -> psycopg.Connection[Any]:
        connected.append(parameters["dbname"])
        return connect(**parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg, "connect", counting)
        text_of(reviewer, page)
    assert len(connected) == 1


def test_decisions_without_a_mapping_are_said_to_be_kept_and_counted_as_on_the_page(
    properties: Rollout, viewer: Client
) -> None:
    from rollout import runner
    from rollout.engine.mapping import Decision
    from rollout.plan import plans
    from tests.support import rollouts
    from tests.support.rollouts import ADA

    assert "kept for phase 2" not in text_of(viewer, LIST)
    lookup = plans.get(properties.plan).lookups[0]
    decisions = {"loft": Decision("Loft"), "villa": Decision("Villa")}
    runner.review_mapping(properties, lookup, decisions, actor=ADA)
    # One of a value that no row has any more, as after a rollback of phase 2: it counts nowhere.
    with rollouts.target() as application:
        application.execute("UPDATE properties SET type = 'Villa' WHERE type ILIKE '%loft%'")
    listed, page = text_of(viewer, LIST), text_of(viewer, TYPES)
    counts = re.search(r'<dd class="number">1 of (\d+), kept for phase 2</dd>', listed)
    assert counts is not None
    assert f'<dd class="number">1 of {counts[1]} ' in page
    still_open = int(counts[1]) - 1
    assert f"Review {still_open} open</a>" in listed
    assert f">Show {still_open} open</a>" in page


def test_the_list_waits_no_longer_than_a_moment_for_values_to_be_counted(
    properties: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_long_to_count(monkeypatch)
    listed = text_of(viewer, LIST)
    assert listed.count("too many rows to count here") == 2


def test_a_lookup_that_the_plan_lacks_is_not_found(rollout: Rollout, viewer: Client) -> None:
    response = viewer.get(f"{LIST}properties/price/")
    assert response.status_code == 404


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


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("?show=x", "Invalid filters were ignored."),
        ("?why=x", "Invalid filters were ignored."),
        ("?order=x", "Unknown sort order"),
        ("?after=x", "Invalid page link"),
        ("?after=" + "9" * 40 + ".villa", "Invalid page link"),
    ],
)
def test_an_invalid_filter_in_the_address_is_named_and_the_values_are_shown(
    reviewer: Client, asked: str, says: str
) -> None:
    text = text_of(reviewer, TYPES + asked)
    assert says in text
    assert "Villa" in values_in(text)


def test_a_filter_that_no_value_matches_leads_back_to_all(reviewer: Client) -> None:
    text = text_of(reviewer, f"{TYPES}?q=nothing-like-it")
    assert f'No value matches. <a href="{TYPES}">Show all values</a>' in text


def number_in(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("order", ["most-rows", "fewest-rows", "a-to-z", "z-to-a"])
def test_every_value_is_on_one_page_whatever_the_order(
    reviewer: Client, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    from rollout.console import decision_pages

    def pages(size: int) -> list[str]:
        monkeypatch.setattr(decision_pages, "MAX_VALUES_ON_PAGE", size)
        texts = [text_of(reviewer, TYPES, order=order)]
        while following := re.search(r'rel="next" href="([^"]*)', texts[-1]):
            texts.append(text_of(reviewer, unescape(following[1])))
        return texts

    (whole,), parts = pages(100), pages(3)
    values = values_in(whole)
    assert [value for part in parts for value in values_in(part)] == values
    assert len(parts) == -(-len(values) // 3)
    texts = [value.casefold().replace("(empty string)", "") for value in values]
    rows = [
        number_in(n) for n in re.findall(r'<td class="number">([\d,]+)', whole.split("bulk")[0])
    ]
    expected = {
        "a-to-z": (texts, sorted(texts)),
        "z-to-a": (texts, sorted(texts, reverse=True)),
        "most-rows": (rows[: len(values)], sorted(rows[: len(values)], reverse=True)),
        "fewest-rows": (rows[: len(values)], sorted(rows[: len(values)])),
    }[order]
    assert expected[0] == expected[1]


def test_the_page_asks_the_journal_as_often_whatever_the_number_of_values(
    filled: Rollout, reviewer: Client, django_assert_max_num_queries: object
) -> None:
    for _ in range(5):
        reviewed(filled)
    with django_assert_max_num_queries(25):  # type: ignore[operator]
        text_of(reviewer, TYPES)


def test_the_page_is_read_only_during_a_run_and_says_why(
    properties: Rollout, reviewer: Client
) -> None:
    from tests.console.journal import ran

    ran(properties, 0, "running")
    text = text_of(reviewer, TYPES)
    assert "is running" in text
    assert 'name="name-' not in text
