"""Measures every request of the application under the name of its view."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from rollout.telemetry.operations import unless_measured

OTHERS = ("rollout", "admin", "")
"""Namespaces that are not the application's own; views without one are the site's."""


class Telemetry:
    """Middleware. A view that names an operation of its own is measured under that name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with unless_measured() as measured:
            answer = self._get_response(request)
            match = request.resolver_match
            if match is not None and match.namespace not in OTHERS:
                measured.name = match.view_name
            measured.failed = answer.status_code >= 500
        return answer
