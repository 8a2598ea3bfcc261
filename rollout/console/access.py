"""Who may do what: asked on the server, for every address and method."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from rollout.roles import PERMISSIONS

P = ParamSpec("P")
SAFE = ("GET", "HEAD", "OPTIONS")


class ConsoleRequest(HttpRequest):
    """A request that ``may`` let through: its user is known."""

    htmx: HtmxDetails
    user: User


View = Callable[Concatenate[ConsoleRequest, P], HttpResponse]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponse]


def may(permission: str, *, to_post: str = "") -> Callable[[View[P]], Guarded[P]]:
    """Let only those in who have a permission of the app, or ``to_post`` where they change things.

    Others are sent to log in, or told which role they need.
    """

    def decorate(view: View[P]) -> Guarded[P]:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            known = cast(ConsoleRequest, request)
            if not request.user.is_authenticated:
                return _to_login(known)
            needed = permission if request.method in SAFE else to_post or permission
            if not known.user.has_perm(f"rollout.{needed}"):
                raise PermissionDenied(_refusal(known.user, needed))
            return view(known, *args, **kwargs)

        return guarded

    return decorate


def _to_login(request: ConsoleRequest) -> HttpResponse:
    if request.htmx:
        # A fragment has no room for the login page: let the browser ask for the page itself.
        return HttpResponseClientRefresh()
    if request.method in SAFE:
        return redirect_to_login(request.get_full_path())
    return redirect_to_login(reverse("rollout:overview"))


def _refusal(user: User, permission: str) -> str:
    roles = [role for role, codenames in PERMISSIONS.items() if permission in codenames]
    return (
        f"This needs the role {' or '.join(roles)}. You are signed in as {user.get_username()}, "
        "who does not have it. Someone who administers the users can give it to you."
    )
