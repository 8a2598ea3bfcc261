"""Requests that break: what people see instead of a traceback."""

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from config import urls as site
from tests.console import journal
from tests.servers import Database


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
    assert "The database does not answer" in text
    assert "Traceback" not in text
    assert "refused" not in text


@override_settings(ROOT_URLCONF=__name__)
def test_any_other_mistake_gets_the_usual_page(visitor: Client) -> None:
    Broken.error = ValueError("secret")
    response = visitor.get("/broken/")
    assert response.status_code == 500
    text = response.content.decode()
    assert "Something broke here" in text
    assert "secret" not in text


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
    assert "The database does not answer" in response.content.decode()
    assert lead.get(journal.PAGE).status_code == 200
