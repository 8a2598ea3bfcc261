"""Gives each request an id, in its answer and in every line that is logged meanwhile."""

import logging
import re
import time
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from rollout.logs.context import bound

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logging.getLogger("rollout.request")


class RequestId:
    """Middleware, the first of all: takes the id that a proxy gave, or makes one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        # What somebody sends goes into logs: nothing that could look like another line.
        request_id = given if _SANE.fullmatch(given) else uuid4().hex
        began = time.monotonic()
        with bound(request=request_id):
            response = self._get_response(request)
            response[HEADER] = request_id
            _log.log(
                _level(request, response),
                "%s %s %s",
                request.method,
                request.path,
                response.status_code,
                extra={
                    "status": response.status_code,
                    "milliseconds": round((time.monotonic() - began) * 1000, 1),
                },
            )
        return response


def _level(request: HttpRequest, response: HttpResponse) -> int:
    """Reading pages is nothing to write about, as long as it works."""
    if response.status_code >= 500:
        return logging.ERROR
    return logging.DEBUG if request.method in ("GET", "HEAD", "OPTIONS") else logging.INFO
