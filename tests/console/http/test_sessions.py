"""Where people log in, and what comes of a press without a session."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from rollout.models import Rollout
from tests.console import journal


def test_the_consoles_own_page_logs_people_in_where_the_project_has_none(
    rollout: Rollout, settings: Any
) -> None:
    settings.LOGIN_URL = "/nowhere/"
    browser = Client()
    response = browser.get(journal.PAGE)
    assert response["Location"] == f"/rollout/login/?next={journal.PAGE}"
    journal.browser_of("viewer")  # Makes the user.
    user = get_user_model().objects.get(username="viewer")
    user.set_password("of-the-test")
    user.save()
    sent = {"username": "viewer", "password": "of-the-test"}
    assert browser.post(response["Location"], sent)["Location"] == journal.PAGE
    assert browser.get(journal.PAGE).status_code == 200
    assert browser.post("/rollout/logout/")["Location"] == "/rollout/"
    assert browser.get(journal.PAGE).status_code == 302


@pytest.mark.parametrize("elsewhere", ["https://sso.example/login", "admin:login"])
def test_a_login_page_of_the_projects_own_is_used(
    rollout: Rollout, settings: Any, elsewhere: str
) -> None:
    settings.LOGIN_URL = elsewhere
    wanted = elsewhere if elsewhere.startswith("https") else "/admin/login/"
    assert Client().get(journal.PAGE)["Location"].startswith(f"{wanted}?next=")


def test_a_fragment_asked_for_after_the_session_ended_reloads_the_page(rollout: Rollout) -> None:
    response = Client().get(journal.PAGE, headers=journal.HTMX)
    assert response["HX-Refresh"] == "true"


def test_a_login_after_a_refused_press_leads_to_a_page_that_can_be_shown(
    rollout: Rollout,
) -> None:
    response = Client().post(f"{journal.PAGE}pause/")
    assert response["Location"] == "/accounts/login/?next=/rollout/"


def test_a_press_without_the_token_of_the_form_is_refused(rollout: Rollout) -> None:
    browser = Client(enforce_csrf_checks=True)
    lead = journal.browser_of("lead")
    browser.cookies = lead.cookies
    assert browser.post(f"{journal.PAGE}phases/0/start/").status_code == 403
    assert not rollout.runs.exists()


def test_pages_are_not_kept_by_the_browser(rollout: Rollout, viewer: Client) -> None:
    assert "no-store" in viewer.get(journal.PAGE)["Cache-Control"]
