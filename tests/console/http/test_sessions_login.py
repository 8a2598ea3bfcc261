"""Logging in, staying logged in, and being asked for the password again."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.test import Client

from rollout.console.http import sessions
from rollout.models import PhaseRun, Rollout
from tests.console import journal

PASSWORD = "a-password-of-ada"
ROLL_BACK = f"{journal.PAGE}phases/1/roll-back/"
Clock = Callable[[timedelta], None]


@pytest.fixture
def ada_browser(db: None, settings: LazySettings) -> Client:
    """The browser of a lead, who has just logged in."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = User.objects.create_user("ada", password=PASSWORD)
    user.groups.add(Group.objects.get(name="lead"))
    browser = Client()
    assert log_in(browser).status_code == 302
    return browser


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Lets time pass, for sessions."""

    class Time:
        ahead = 0.0

        def time(self) -> float:
            return time.time() + self.ahead

    clock = Time()
    monkeypatch.setattr(sessions, "time", clock)

    def pass_by(much: timedelta) -> None:
        clock.ahead += much.total_seconds()

    return pass_by


def log_in(browser: Client, password: str = PASSWORD, address: str = "127.0.0.1") -> Any:
    sent = {"username": "ada", "password": password}
    return browser.post("/accounts/login/", sent, REMOTE_ADDR=address)


def test_five_wrong_passwords_lock_the_name_out_from_that_address_alone(
    ada_browser: Client,
) -> None:
    thief = Client()
    answers = [log_in(thief, "wrong", "198.51.100.7").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]
    right = log_in(thief, PASSWORD, "198.51.100.7")
    assert right.status_code == 429
    assert b"Too many failed logins" in right.content
    assert log_in(Client(), PASSWORD, "203.0.113.5").status_code == 302


def test_guessing_at_the_question_for_the_password_counts_as_well(ada_browser: Client) -> None:
    answers = [
        ada_browser.post("/rollout/confirm/", {"password": "wrong"}).status_code for _ in range(5)
    ]
    assert answers == [422, 422, 422, 422, 429]


def test_only_a_press_logs_out(ada_browser: Client) -> None:
    assert ada_browser.get("/accounts/logout/").status_code == 405
    assert ada_browser.get("/rollout/").status_code == 200
    assert ada_browser.post("/accounts/logout/").status_code == 302
    assert ada_browser.get("/rollout/").status_code == 302


def test_a_session_that_is_not_used_ends_and_says_so(ada_browser: Client, later: Clock) -> None:
    later(timedelta(minutes=119))
    assert ada_browser.get("/rollout/").status_code == 200
    later(timedelta(minutes=119))
    assert ada_browser.get("/rollout/").status_code == 200
    later(timedelta(minutes=121))
    ended = ada_browser.get("/rollout/log/", follow=True)
    assert ended.redirect_chain == [("/accounts/login/?next=/rollout/log/", 302)]
    assert "after a period of inactivity" in ended.content.decode()


def test_a_page_that_asks_again_by_itself_keeps_no_session_alive(
    ada_browser: Client, later: Clock
) -> None:
    later(timedelta(minutes=100))
    assert ada_browser.get("/rollout/", headers=journal.HTMX).status_code == 200
    later(timedelta(minutes=100))
    assert ada_browser.get("/rollout/", headers=journal.HTMX)["HX-Refresh"] == "true"


def test_a_session_ends_however_much_it_is_used(ada_browser: Client, later: Clock) -> None:
    for _ in range(12):
        assert ada_browser.get("/rollout/").status_code == 200
        later(timedelta(minutes=61))
    assert ada_browser.get("/rollout/").status_code == 302


def test_a_rollback_asks_for_the_password_of_who_logged_in_a_while_ago(
    rollout: Rollout, ada_browser: Client, later: Clock
) -> None:
    journal.ran(rollout, 0)
    journal.ran(rollout, 1)
    assert ada_browser.get(ROLL_BACK).status_code == 200
    later(timedelta(minutes=16))
    asked = ada_browser.get(ROLL_BACK)
    assert asked["Location"].startswith("/rollout/confirm/?next=")
    refused = ada_browser.post(ROLL_BACK, headers={"Referer": f"http://testserver{ROLL_BACK}"})
    assert refused["Location"].startswith("/rollout/confirm/?next=")
    assert not PhaseRun.objects.filter(direction="backward").exists()
    question = ada_browser.get(refused["Location"]).content.decode()
    assert "then repeat the action" in question
    wrong = ada_browser.post("/rollout/confirm/", {"next": ROLL_BACK, "password": "wrong"})
    assert "Incorrect password. Try again." in wrong.content.decode()
    given = ada_browser.post("/rollout/confirm/", {"next": ROLL_BACK, "password": PASSWORD})
    assert given["Location"] == ROLL_BACK
    assert "Nothing has changed: press again." in ada_browser.get(ROLL_BACK).content.decode()
    again = ada_browser.get(ROLL_BACK).content.decode()
    assert "press again" not in again
    read = {"typed": journal.PLAN, "seen": journal.seen_in(again)}
    assert ada_browser.post(ROLL_BACK, read)["Location"] == f"{journal.PAGE}phases/1/"
    assert PhaseRun.objects.filter(direction="backward").exists()


def test_form_input_is_restored_once_after_the_password(
    rollout: Rollout, ada_browser: Client, later: Clock
) -> None:
    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    override = f"{journal.PAGE}phases/3/override/audit-clean/"
    later(timedelta(minutes=16))
    asked = ada_browser.post(override, {"reason": "We watched <it> by hand."})
    assert asked["Location"].startswith("/rollout/confirm/?next=")
    given = ada_browser.post("/rollout/confirm/", {"next": override, "password": PASSWORD})
    assert given["Location"] == override, "the form, also where it was sent from another page"
    text = ada_browser.get(override).content.decode()
    assert "Nothing has changed: press again." in text
    assert "We watched &lt;it&gt; by hand.</textarea>" in text
    assert "We watched" not in ada_browser.get(override).content.decode()
    later(timedelta(minutes=16))
    ada_browser.post(ROLL_BACK, {"typed": journal.PLAN})
    ada_browser.post("/rollout/confirm/", {"next": ROLL_BACK, "password": PASSWORD})
    assert "We watched" not in ada_browser.get(override).content.decode(), "it is of another form"


@pytest.mark.parametrize(("phase", "asks"), [(0, False), (1, False), (3, True), (4, True)])
def test_a_start_asks_for_the_password_where_a_step_is_destructive(
    rollout: Rollout, ada_browser: Client, later: Clock, phase: int, asks: bool
) -> None:
    later(timedelta(minutes=16))
    for answer in (
        ada_browser.get(f"{journal.PAGE}phases/{phase}/start/"),
        ada_browser.post(f"{journal.PAGE}phases/{phase}/start/", journal.read(phase)),
    ):
        assert answer.get("Location", "").startswith("/rollout/confirm/") == asks
    assert PhaseRun.objects.exists() == (phase == 0)


def test_a_user_without_a_password_here_logs_in_again_instead(
    rollout: Rollout, ada_browser: Client, later: Clock
) -> None:
    user = User.objects.get(username="ada")
    user.set_unusable_password()
    user.save()
    ada_browser.force_login(user)
    later(timedelta(minutes=16))
    question = ada_browser.get(ada_browser.get(ROLL_BACK)["Location"]).content.decode()
    assert "Log in again" in question
    assert 'type="password"' not in question
    answer = ada_browser.post("/rollout/confirm/", {"next": ROLL_BACK, "password": "anything"})
    assert answer["Location"] == f"/accounts/login/?next={ROLL_BACK}"
    assert ada_browser.get(ROLL_BACK)["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "/\\evil.example",
        "https:e",
    ],
)
def test_no_way_leads_to_another_site(ada_browser: Client, elsewhere: str) -> None:
    given = ada_browser.post("/rollout/confirm/", {"next": elsewhere, "password": PASSWORD})
    assert given["Location"] == "/rollout/"
    sent = {"username": "ada", "password": PASSWORD, "next": elsewhere}
    assert Client().post("/accounts/login/", sent)["Location"] == "/"
    assert (
        ada_browser.post(f"{journal.PAGE}pause/", {"next": elsewhere})["Location"] == journal.PAGE
    )
    assert ada_browser.post("/rollout/theme/", {"next": elsewhere})["Location"] == "/rollout/"
    question = ada_browser.get("/rollout/confirm/", {"next": elsewhere}).content.decode()
    assert "evil" not in question
    assert "javascript:" not in question


@pytest.mark.parametrize(
    "nowhere", ["no-such-page", "http://testserver//evil.example/", "http://[evil", "\ufffd", "."]
)
def test_a_next_address_that_names_no_page_leads_to_one_of_ours(
    ada_browser: Client, nowhere: str
) -> None:
    given = ada_browser.post("/rollout/confirm/", {"next": nowhere, "password": PASSWORD})
    assert given["Location"] == "/rollout/"
    assert ada_browser.post("/rollout/theme/", {"next": nowhere})["Location"] == "/rollout/"
    assert ada_browser.post(f"{journal.PAGE}pause/", {"next": nowhere})["Location"] == journal.PAGE
