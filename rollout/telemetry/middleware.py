"""Measures every request of the application under the name of its view."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch

from rollout.telemetry.operations import UNMEASURED, unless_measured

NAMESPACES = ("rollout", "admin")
# Whose views are not the application's own.
MODULES = ("rollout.", "django.contrib.")


class Telemetry:
    """Middleware. A view that names an operation of its own is measured under that name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with unless_measured() as measured:
            response = self._get_response(request)
            match = request.resolver_match
            if match is not None and _is_of_the_application(match):
                measured.name = match.view_name
            measured.failed = response.status_code >= 500
        return response


def _is_of_the_application(match: ResolverMatch) -> bool:
    module: str = getattr(match.func, "__module__", "")
    if match.namespace in NAMESPACES or module.startswith(MODULES):
        return False
    if getattr(match.func, UNMEASURED, False):
        return False
    # Django's generic views are the application's where it gives them a name.
    return bool(match.url_name) or not module.startswith("django.")
