"""Error pages: 503 where a database is unavailable, 500 for a mistake in the code."""

import sys
from collections.abc import Iterator

import psycopg
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

from rollout import logs

_DATABASE_AWAY = (
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answers 503 when the database did not answer, else 500. Neither page asks the database."""
    if any(isinstance(error, _DATABASE_AWAY) for error in _what_went_wrong()):
        response = _page(503)
        response["Retry-After"] = "5"
        return response
    return _page(500)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answers 400. The request is not read once more: that may be what cannot be done."""
    return _page(400)


def _page(status: int) -> HttpResponse:
    known = {"request_id": logs.current().get("request", "")}
    return HttpResponse(loader.render_to_string(f"rollout/{status}.html", known), status=status)


def _what_went_wrong() -> Iterator[BaseException]:
    """The error that is being handled, and those it came from."""
    error = sys.exception()
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
