"""The demo's accounts: anybody of them becomes another there, and nobody anywhere else."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client

from config.prepare import PEOPLE, make_people
from tests.config.test_settings import IN_PRODUCTION, refusal
from tests.config.test_settings import settings as site
from tests.console import journal
from tests.support.demo_sites import become_demo, logged_in

BECOME = "/demo/user/"


@pytest.fixture
def demo_settings(db: None, settings: Any) -> None:
    become_demo(settings)


def who(browser: Client) -> str:
    return User.objects.get(pk=browser.session["_auth_user_id"]).username


def test_an_account_becomes_another_and_stays_on_its_page(demo_settings: None) -> None:
    browser = logged_in("lead")
    menu = browser.get(journal.PAGE).content.decode()
    assert all(f'name="name" value="{name}"' in menu for name in PEOPLE)
    answer = browser.post(BECOME, {"name": "lead2", "next": journal.PAGE})
    assert (answer.status_code, answer["Location"]) == (302, journal.PAGE)
    assert who(browser) == "lead2"
    assert "You are lead2 now" in browser.get(journal.PAGE).content.decode()


def test_nobody_becomes_an_account_without_a_log_in_a_token_or_a_post(demo_settings: None) -> None:
    nobody = Client()
    assert "/accounts/login/" in nobody.post(BECOME, {"name": "lead"})["Location"]
    assert "_auth_user_id" not in nobody.session
    browser = logged_in("viewer", enforce_csrf_checks=True)
    assert browser.post(BECOME, {"name": "lead"}).status_code == 403
    assert browser.get(BECOME, {"name": "lead"}).status_code == 405
    assert who(browser) == "viewer"


def test_only_the_demos_accounts_are_exchanged(demo_settings: None) -> None:
    User.objects.create_superuser("root", password="x")
    browser = logged_in("lead")
    assert browser.post(BECOME, {"name": "root"}).status_code == 404
    assert who(browser) == "lead"
    root = logged_in("root")
    assert root.post(BECOME, {"name": "lead"}).status_code == 403
    assert who(root) == "root"


def test_the_way_on_leads_to_no_other_site(demo_settings: None) -> None:
    browser = logged_in("lead")
    answer = browser.post(BECOME, {"name": "viewer", "next": "https://elsewhere.example/"})
    assert answer["Location"] == django_settings.LOGIN_REDIRECT_URL


def test_the_log_in_page_lists_the_accounts_and_fills_a_name_in(demo_settings: None) -> None:
    page = Client().get("/accounts/login/", {"as": "lead2"}).content.decode()
    assert 'value="lead2"' in page
    assert all(f"?as={name}&" in page for name in PEOPLE)


def test_no_other_site_has_the_address_the_list_or_the_menu(db: None) -> None:
    make_people("of-this-test")
    browser = logged_in("lead")
    assert browser.post(BECOME, {"name": "lead2"}).status_code == 404
    assert who(browser) == "lead"
    assert "demo/user" not in browser.get(journal.PAGE).content.decode()
    assert "Accounts of this demo" not in Client().get("/accounts/login/").content.decode()


def test_the_view_itself_refuses_where_only_its_address_is_there(db: None, settings: Any) -> None:
    settings.ROOT_URLCONF = "config.demo_urls"
    make_people("of-this-test")
    browser = logged_in("lead")
    assert browser.post(BECOME, {"name": "lead2"}).status_code == 404
    assert who(browser) == "lead"


def test_people_keep_the_hash_of_their_password_unless_it_is_another(db: None) -> None:
    make_people("of-this-test")
    hashes = dict(User.objects.values_list("username", "password"))
    lead = User.objects.get(username="lead")
    lead.set_password("of-their-own")
    lead.save()
    make_people("of-this-test")
    assert all(user.check_password("of-this-test") for user in User.objects.all())
    now = dict(User.objects.values_list("username", "password"))
    assert {name for name in now if now[name] != hashes[name]} == {"lead"}


def test_a_site_that_others_reach_refuses_the_demo() -> None:
    assert site()["ROOT_URLCONF"] == "config.urls"
    assert site(DEMO="1")["ROOT_URLCONF"] == "config.demo_urls"
    assert refusal(**IN_PRODUCTION, DEMO="1").startswith("DEMO=1 lets every user become another")


def test_a_strict_demo_keeps_its_accounts_apart(db: None, settings: Any) -> None:
    become_demo(settings, strict=True)
    browser = logged_in("lead")
    assert browser.post(BECOME, {"name": "lead2"}).status_code == 404
    assert browser.post("/demo/approve/", {"name": "lead2"}).status_code == 404
    assert "demo/user" not in browser.get(journal.PAGE).content.decode()
