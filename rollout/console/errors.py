"""The page for a request that broke: a database that is away is told from a mistake in the code."""

import sys
from collections.abc import Iterator

import psycopg
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.views.decorators.csrf import requires_csrf_token

_DATABASE_AWAY = (
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """Answers 503 when the database did not answer, else 500. Neither page asks the database."""
    if any(isinstance(error, _DATABASE_AWAY) for error in _what_went_wrong()):
        response = HttpResponse(loader.render_to_string("rollout/503.html"), status=503)
        response["Retry-After"] = "5"
        return response
    return HttpResponse(loader.render_to_string("rollout/500.html"), status=500)


def _what_went_wrong() -> Iterator[BaseException]:
    """The error that is being handled, and those it came from."""
    error = sys.exception()
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
