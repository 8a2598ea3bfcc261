"""Requests that break: what people see instead of a traceback."""

import psycopg
import pytest
from django.conf import LazySettings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from config import urls as site
from rollout.models import Rollout
from tests.console import journal
from tests.support.servers import Database


class Broken:
    """What the page below raises."""

    error: Exception = Exception()


def broken(request: HttpRequest) -> HttpResponse:
    raise Broken.error


def broken_deeper(request: HttpRequest) -> HttpResponse:
    try:
        raise Broken.error
    except Exception as error:
        raise LookupError("on the way") from error


urlpatterns = [path("broken/", broken), path("deeper/", broken_deeper), *site.urlpatterns]
handler500 = site.handler500


@pytest.fixture
def visitor() -> Client:
    return Client(raise_request_exception=False)


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize("address", ["/broken/", "/deeper/"])
@pytest.mark.parametrize(
    "error",
    [
        OperationalError("connection <refused>"),
        InterfaceError("connection already closed"),
        psycopg.OperationalError("server closed the connection"),
    ],
)
def test_a_database_that_is_away_gets_a_page_that_says_so(
    visitor: Client, address: str, error: Exception
) -> None:
    Broken.error = error
    response = visitor.get(address)
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    text = response.content.decode()
    assert "Database unavailable" in text
    assert "Check that PostgreSQL is running" in text
    assert 'href="">Try again</a>' in text
    assert "Traceback" not in text
    assert "refused" not in text


@override_settings(ROOT_URLCONF=__name__)
def test_any_other_mistake_gets_the_usual_page(visitor: Client) -> None:
    Broken.error = ValueError("secret")
    response = visitor.get("/broken/")
    assert response.status_code == 500
    text = response.content.decode()
    assert "Something went wrong" in text
    assert "secret" not in text
    assert "If the error stays, give an administrator" in text
    assert 'href="">Try again</a>' in text


def test_the_console_says_so_when_its_database_is_really_away(committed_db: Database) -> None:
    lead = journal.browser_of("lead")
    lead.raise_request_exception = False
    there = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = "no_such_database"
    try:
        response = lead.get(journal.PAGE)
    finally:
        connection.settings_dict["NAME"] = there
    assert response.status_code == 503
    assert "Database unavailable" in response.content.decode()
    assert lead.get(journal.PAGE).status_code == 200


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize("error", [ValueError("secret"), OperationalError("away")])
def test_a_page_that_broke_shows_the_id_of_its_request(visitor: Client, error: Exception) -> None:
    Broken.error = error
    response = visitor.get("/broken/")
    shown = f"<p>Request ID <code>{response['X-Request-ID']}</code></p>"
    assert shown in response.content.decode()


TO_THE_ROLLOUTS = '<a class="button" href="/rollout/">Go to rollouts</a>'


def test_a_refusal_names_the_role_it_takes_and_who_gives_it(
    rollout: Rollout, viewer: Client
) -> None:
    response = viewer.get(f"{journal.PAGE}phases/0/start/")
    text = response.content.decode()
    assert response.status_code == 403
    assert "Requires the lead role" in text
    assert "Ask an administrator for access." in text
    assert TO_THE_ROLLOUTS in text


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/rollout/nowhere/at/all/", "Check the URL"),
        ("/rollout/jobs/999999/", "not found"),
        ("/rollout/audits/999999/", "not found"),
        ("/rollout/no-such-plan/production/", "no-such-plan"),
        (f"{journal.PAGE}mappings/properties/no-such/", "Its lookups: properties.type"),
    ],
)
def test_a_missing_page_says_where_to_continue(
    rollout: Rollout, viewer: Client, address: str, says: str
) -> None:
    response = viewer.get(address)
    text = response.content.decode()
    assert response.status_code == 404
    assert "Page not found" in text
    assert says in text
    assert TO_THE_ROLLOUTS in text


@pytest.mark.parametrize("cookies", [True, False])
def test_a_form_that_is_out_of_date_says_so_and_to_send_it_again(
    rollout: Rollout, lead: Client, cookies: bool
) -> None:
    browser = Client(enforce_csrf_checks=True)
    if cookies:
        browser.cookies = lead.cookies
    response = browser.post(f"{journal.PAGE}pause/")
    text = response.content.decode()
    assert response.status_code == 403
    assert "This form has expired" in text
    assert "Nothing was changed." in text
    assert "Reload the page and" in text
    assert TO_THE_ROLLOUTS in text


def test_an_address_that_takes_a_press_alone_leads_to_where_the_button_is(
    rollout: Rollout, lead: Client
) -> None:
    response = lead.get(f"{journal.PAGE}pause/")
    text = response.content.decode()
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "links never perform actions" in text
    assert f'<a class="button" href="{journal.PAGE}">Go to the rollout</a>' in text
    assert TO_THE_ROLLOUTS in lead.get("/rollout/jobs/1/pace/").content.decode()


def test_a_malformed_request_is_answered_with_what_to_do(lead: Client) -> None:
    fields = {f"field-{number}": "x" for number in range(1_001)}
    response = lead.post("/rollout/notifications/", fields)
    text = response.content.decode()
    assert response.status_code == 400
    assert "Nothing was changed." in text
    assert "Reload the page and" in text


def test_a_request_that_is_too_large_says_to_send_less(
    lead: Client, settings: LazySettings
) -> None:
    settings.MAX_REQUEST_BYTES = 1024 * 1024
    data = "x" * (1024 * 1024 + 1)
    response = lead.post("/rollout/notifications/", data, content_type="text/plain")
    assert response.status_code == 413
    assert "Request too large (limit 1 MB). Split the file" in response.content.decode()
