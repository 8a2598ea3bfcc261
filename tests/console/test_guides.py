"""The guide through a project's first rollout: when it is shown, and what hides it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from rollout.models import Rollout
from tests.console import journal

HIDE = {"guide": "hidden", "next": journal.PAGE}


@pytest.fixture
def guided(db: None, settings: Any) -> Client:
    """A lead of a project that has not chosen a guide."""
    settings.ROLLOUT = {name: v for name, v in settings.ROLLOUT.items() if name != "GUIDE"}
    journal.the_rollout()
    return journal.browser_of("lead")


def page_of(browser: Client) -> str:
    return browser.get(journal.PAGE).content.decode()


def open_step_of(browser: Client) -> tuple[str, str]:
    """The title of the first open step, and the label of its button."""
    card = page_of(browser).split('<section class="card guide"')[1].split("</section>")[0]
    opened = card.split('<li class="guide-open"')[1]
    title = re.search(r"<strong>([^<]+)</strong>", opened)
    label = re.search(r'<(?:button|a) class="button[^>]*>([^<]+)</', opened)
    assert title is not None
    assert label is not None
    return title[1], label[1]


def test_a_first_rollout_is_led_from_phase_to_phase_until_phase_4_begins(guided: Client) -> None:
    rollout = journal.the_rollout()
    assert open_step_of(guided) == ("Start phase 0: prepare", "Start phase 0…")
    journal.ran(rollout, 0)
    journal.probed(rollout)
    title, label = open_step_of(guided)
    assert (title, label) == ("Take a snapshot and rehearse", "Take snapshot and rehearse")
    for phase in (1, 2, 3):
        journal.ran(rollout, phase)
    assert open_step_of(guided)[0] == "Start phase 4: contract"
    journal.ran(rollout, 4, "running")
    assert "card guide" not in page_of(guided)


def test_a_rejected_phase_leads_to_its_rejection_instead_of_preparing_nothing(
    guided: Client,
) -> None:
    rollout = journal.the_rollout()
    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    journal.audited(rollout)
    journal.rehearsed(journal.taken(rollout))
    assert open_step_of(guided)[0] == "Get phase 3 approved"
    journal.signed(rollout, "rejection", reason="Wait.")
    assert open_step_of(guided) == ("Get phase 3 approved", "Open rejection")


def test_a_browser_that_hid_the_guide_has_it_hidden_until_it_asks_again(guided: Client) -> None:
    assert "Show the guide" not in page_of(guided)
    assert guided.post("/rollout/guide/", HIDE).url == journal.PAGE  # type: ignore[attr-defined]
    assert "card guide" not in page_of(guided)
    assert "card guide" in page_of(journal.browser_of("engineer")), "others have theirs"
    guided.post("/rollout/guide/", {"next": journal.PAGE})
    assert "card guide" in page_of(guided)


def test_parts_that_are_shared_tell_who_hid_the_guide_from_who_did_not(
    guided: Client, shared_parts: None, settings: Any
) -> None:
    settings.ROLLOUT = {name: v for name, v in settings.ROLLOUT.items() if name != "GUIDE"}
    other = Client()
    other.force_login(User.objects.get(username="lead"))
    guided.post("/rollout/guide/", HIDE)
    part = {"HX-Request": "true"}
    assert "card guide" not in guided.get(journal.PAGE, headers=part).content.decode()
    assert "card guide" in other.get(journal.PAGE, headers=part).content.decode()


def test_a_second_rollout_of_a_project_has_no_guide(guided: Client) -> None:
    later = journal.the_rollout().pk + 1
    Rollout.objects.create(pk=later, plan="order-states", environment="production")
    assert "card guide" in page_of(guided)
    Rollout.objects.create(pk=0, plan="order-lines", environment="production")
    assert "card guide" not in page_of(guided)


def test_a_viewer_reads_what_comes_next_and_presses_nothing(guided: Client) -> None:
    page = page_of(journal.browser_of("viewer"))
    card = page.split('<section class="card guide"')[1].split("</section>")[0]
    assert "Needs another role than yours." in card
    assert "Start phase 0…" not in card
