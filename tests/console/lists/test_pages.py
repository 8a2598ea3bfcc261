"""What every list has: orders, filters and places in its address, and a word when it is empty."""

import re
from html import unescape

import pytest
from django.test import Client

from rollout.models import (
    Rollout,
)
from tests.console import journal
from tests.console.journal import PAGE, text_of
from tests.console.lists.made_rows import (
    AUDITS,
    BY_NUMBER,
    JOBS,
    LOG,
    MAKERS,
    NOTIFICATIONS,
    REHEARSALS,
    SNAPSHOTS,
    Maker,
    all_pages,
    an_audit,
    make_of,
    shown_in,
)

LISTS = [address for address, _ in MAKERS]


@pytest.mark.slow
@pytest.mark.parametrize(("address", "make", "most", "least"), BY_NUMBER)
def test_a_list_by_a_number_shows_every_row_once_whatever_page_it_is_on(
    rollout: Rollout, viewer: Client, address: str, make: Maker, most: str, least: str
) -> None:
    # Rows of the same number stand on both sides of each page's end.
    numbers = [number % 3 for number in range(27)]
    made = [make(rollout, number) for number in numbers]
    rising = sorted(range(27), key=lambda index: (numbers[index], index))
    pages = all_pages(viewer, address, order=least)
    assert len(pages) > 1
    assert shown_in(pages, made) == [made[index] for index in rising]
    assert shown_in(all_pages(viewer, address, order=most), made) == [
        made[index] for index in reversed(rising)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("address", LISTS)
def test_a_list_turned_round_shows_every_row_once(
    rollout: Rollout, viewer: Client, address: str
) -> None:
    made = [make_of(address)(rollout, 1_000 + number) for number in range(27)]
    assert shown_in(all_pages(viewer, address, order="oldest"), made) == made
    assert shown_in(all_pages(viewer, address), made) == made[::-1]


def test_rows_that_come_meanwhile_shift_no_page(rollout: Rollout, viewer: Client) -> None:
    made = [an_audit(rollout, 5) for _ in range(27)]
    first = text_of(viewer, AUDITS, order="most-mismatches")
    an_audit(rollout, 9)
    following = unescape(re.findall(r'rel="next" href="([^"]*)', first)[0])
    assert shown_in([text_of(viewer, f"{AUDITS}{following}")], made) == made[1::-1]


@pytest.mark.parametrize(("address", "most"), [(listing[0], listing[2]) for listing in BY_NUMBER])
def test_the_heads_say_how_a_list_is_sorted_and_turn_it_round(
    rollout: Rollout, viewer: Client, address: str, most: str
) -> None:
    make = make_of(address)
    make(rollout, 1)
    usual = text_of(viewer, address)
    assert usual.count('aria-sort="descending"') == 1
    assert f'href="?order={most}' in usual
    sorted_by = text_of(viewer, address, order=most)
    assert sorted_by.count("aria-sort=") == 1
    assert f'href="?order={most}' not in sorted_by


def test_a_few_rows_on_another_page_have_no_order_to_choose(
    rollout: Rollout, viewer: Client
) -> None:
    an_audit(rollout, 1)
    assert "aria-sort" not in text_of(viewer, PAGE)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize("address", LISTS)
def test_a_place_that_makes_no_sense_is_reported_and_the_list_begins(
    rollout: Rollout, viewer: Client, address: str
) -> None:
    name = make_of(address)(rollout, 0)
    orders = ("", "oldest") if LISTS.index(address) % 2 else ("oldest", "")
    # Each place in one of the orders, which is the other one in the next list.
    for number, after in enumerate(["x", "-1", "9" * 40, "1.5", "²", "0.x", ".", "..1"]):
        text = text_of(viewer, address, after=after, order=orders[number % 2])
        assert name in text, after
        assert "Invalid page link" in text, after


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize(("address", "make", "most", "least"), BY_NUMBER)
def test_a_place_in_another_order_makes_no_error(
    rollout: Rollout, viewer: Client, address: str, make: Maker, most: str, least: str
) -> None:
    make(rollout, 0)
    for after in ("1", "x.1", "9" * 40 + ".1", "1.x", "1." + "9" * 40):
        for order in (most, least):
            text_of(viewer, address, after=after, order=order)


@pytest.mark.parametrize("address", LISTS)
def test_an_unknown_order_is_reported_and_the_list_is_as_usual(
    rollout: Rollout, viewer: Client, address: str
) -> None:
    made = [make_of(address)(rollout, 50 + number) for number in range(2)]
    text = text_of(viewer, address, order="<upside-down>")
    assert shown_in([text], made) == made[::-1]
    assert "Unknown sort order" in text
    assert "newest, oldest" in text
    assert "upside-down&gt;" not in text


@pytest.mark.parametrize("address", LISTS)
def test_beyond_the_end_a_link_leads_to_the_beginning(
    rollout: Rollout, viewer: Client, address: str
) -> None:
    make_of(address)(rollout, 0)
    text = text_of(viewer, address, after="9" * 18, order="oldest")
    assert "No more results." in text
    assert 'href="?order=oldest' in text.split("No more results.")[1].split(">")[0]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (AUDITS, "No audits yet."),
        (SNAPSHOTS, "No snapshots yet."),
        (REHEARSALS, "No rehearsals yet."),
        (JOBS, "No jobs yet."),
        (NOTIFICATIONS, "No deliveries yet. Choose above which events to send."),
        (LOG, "No activity yet."),
    ],
)
def test_an_empty_list_says_what_to_do_and_offers_no_filter(
    rollout: Rollout, lead: Client, address: str, says: str
) -> None:
    text = text_of(lead, address)
    assert says in text
    assert 'role="search"' not in text


def test_the_first_page_without_a_plan_says_where_one_is_written(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.console.views.rollouts.all_rollouts", list)
    text = text_of(viewer, "/rollout/")
    assert "No plans yet. Register one in an app's <code>rollout.py</code>" in text


def test_lists_of_other_things_say_what_to_do_while_they_are_empty(
    rollout: Rollout, lead: Client
) -> None:
    without_snapshots = text_of(lead, REHEARSALS).split("Staging databases")[1]
    assert "No staging databases. A staging database is a separate environment" in without_snapshots
    assert f'<a href="{SNAPSHOTS}">take one first</a>' in without_snapshots
    notifications = text_of(lead, NOTIFICATIONS)
    assert "No webhooks configured. Add them in the settings" in notifications
    whole = text_of(lead, PAGE)
    assert "No audits yet. An audit compares" in whole
    assert "No snapshots yet. A snapshot is a dump" in whole


class TestRowsOfAReport:
    """The mismatching rows that an audit's page lists."""

    def report_page(self, rollout: Rollout) -> str:
        report = journal.audited(rollout, "mismatched", mismatched=30, stored_mismatches=30)
        for number in range(30):
            journal.mismatching(
                report,
                f"row-{number:02}-",
                column=("currency", "property_type_id", "is_listed")[number % 3],
                category=("wrong", "missing")[number % 2],
                state=("new", "regressed")[number == 7],
            )
        return f"/rollout/audits/{report.pk}/"

    @pytest.mark.parametrize(("order", "step"), [("by-column", 3), ("by-category", 2)])
    def test_rows_are_sorted_by_column_and_category_over_all_pages(
        self, rollout: Rollout, viewer: Client, order: str, step: int
    ) -> None:
        names = [f"row-{number:02}-" for number in range(30)]
        remainders = {3: [0, 2, 1], 2: [1, 0]}[step]
        pages = all_pages(viewer, self.report_page(rollout), order=order)
        assert len(pages) == 2
        expected = [name for first in remainders for name in names[first::step]]
        assert shown_in(pages, names) == expected

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"key": "row-2"}, 10),
            ({"state": "regressed"}, 1),
            ({"column": "currency", "category": "missing"}, 5),
        ],
    )
    def test_rows_are_found_by_key_state_column_and_category(
        self, rollout: Rollout, viewer: Client, query: dict[str, str], shown: int
    ) -> None:
        text = text_of(viewer, self.report_page(rollout), **query)
        assert len(re.findall(r"<code>row-\d\d-", text)) == shown

    def test_an_unknown_column_is_reported_and_all_are_shown(
        self, rollout: Rollout, viewer: Client
    ) -> None:
        text = text_of(viewer, self.report_page(rollout), column="no such", after="-")
        assert "row-00-" in text
        assert "Invalid filters were ignored." in text
        assert "Invalid page link" in text

    def test_all_rows_are_a_link_away_when_none_matches(
        self, rollout: Rollout, viewer: Client
    ) -> None:
        page = self.report_page(rollout)
        text = text_of(viewer, page, key="nowhere")
        assert f'No row matches. <a href="{page}#mismatches">Show all rows</a>' in text
