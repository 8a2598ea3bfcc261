import re

import pytest
from django.test import Client

from rollout.models import Rollout
from tests.console.journal import PAGE, ran, text_of


def press(browser: Client, verb: str, **form: str) -> str:
    return browser.post(f"{PAGE}{verb}/", form, follow=True).content.decode()


@pytest.mark.slow
def test_a_phase_is_paused_resumed_cancelled_and_retried(rollout: Rollout, lead: Client) -> None:
    run = ran(rollout, 0, "queued")

    def state() -> str:
        run.refresh_from_db()
        return run.state

    assert "Pausing at the next safe point." in press(lead, "pause")
    assert state() == "paused"
    assert "Resumed." in press(lead, "resume")
    assert state() == "queued"
    assert "Cancelling at the next safe point." in press(lead, "cancel-run")
    assert state() == "cancelled"
    assert "Retrying from the step that did not finish." in press(lead, "retry")
    assert state() == "queued"


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("pause", "there is nothing to pause"),
        ("resume", "there is nothing to resume"),
        ("cancel-run", "there is nothing to cancel"),
        ("retry", "there is nothing to retry"),
    ],
)
def test_a_verb_that_does_not_fit_says_why(
    rollout: Rollout, lead: Client, verb: str, message: str
) -> None:
    assert message in press(lead, verb)


def test_a_press_comes_back_to_the_page_it_was_made_on(rollout: Rollout, lead: Client) -> None:
    ran(rollout, 0, "queued")
    response = lead.post(f"{PAGE}pause/", {"next": f"{PAGE}phases/0/"})
    assert response["Location"] == f"{PAGE}phases/0/"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)", "x"],
)
def test_a_press_never_leads_to_another_site(
    rollout: Rollout, lead: Client, elsewhere: str
) -> None:
    response = lead.post(f"{PAGE}pause/", {"next": elsewhere})
    assert response["Location"] == PAGE


def test_a_cancellation_asks_first_and_leads_back(rollout: Rollout, lead: Client) -> None:
    run = ran(rollout, 0, "running")
    button = re.search('id="verb-cancel" href="([^"]+)">Cancel run…<', text_of(lead, PAGE))
    assert button is not None
    page = text_of(lead, button[1])
    assert "Cancel phase 0?" in page
    assert f'<a class="button" href="{PAGE}">Keep it</a>' in page
    assert 'id="verb-cancel-in-header"' not in page
    run.refresh_from_db()
    assert run.state == "running"
    form = {"run": str(run.pk), "next": f"{PAGE}phases/0/"}
    assert lead.post(f"{PAGE}cancel-run/", form)["Location"] == form["next"]
    run.refresh_from_db()
    assert run.state == "cancelling"
    assert "Nothing to cancel" in text_of(lead, button[1])
    assert "evil" not in text_of(lead, f"{PAGE}cancel-run/?next=https://evil.example/")


def test_a_cancellation_spares_a_run_that_began_after_the_question(
    rollout: Rollout, lead: Client
) -> None:
    asked, newer = ran(rollout, 0), ran(rollout, 1, "running")
    text = press(lead, "cancel-run", run=str(asked.pk))
    assert "Nothing was cancelled: that run has ended meanwhile." in text
    newer.refresh_from_db()
    assert newer.state == "running"
