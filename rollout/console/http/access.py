"""Who may do what: asked on the server, for every address and method."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from rollout.console.http.closed_pages import away_page, closed_page
from rollout.console.http.cookies import in_zone_of
from rollout.console.http.inputs import refusal_to_read
from rollout.console.http.shortcuts import Closed
from rollout.engine.shared_connections import shared_connections
from rollout.engine.target import NOT_AS_EXPECTED, TargetAway
from rollout.journal.environments import home_of, homes
from rollout.models import (
    AuditReport,
    BackfillJob,
    Environment,
    Finding,
    LogEntry,
    MappingChange,
    Rehearsal,
    Restore,
    SignOff,
    Snapshot,
)
from rollout.permissions import PERMISSIONS, allowed_in, within
from rollout.plan.registry import UnknownPlan

P = ParamSpec("P")
SAFE = ("GET", "HEAD", "OPTIONS")

# Objects that addresses name by number, with the lookup of their environment.
OBJECTS: dict[str, tuple[type[Model], str]] = {
    "audit_id": (AuditReport, "rollout__environment"),
    "other_id": (AuditReport, "rollout__environment"),
    "change_id": (MappingChange, "rollout__environment"),
    "entry_id": (LogEntry, "environment"),
    "finding_id": (Finding, "rollout__environment"),
    "job_id": (BackfillJob, "step_run__run__rollout__environment"),
    "sign_off_id": (SignOff, "rollout__environment"),
    "snapshot_id": (Snapshot, "rollout__environment"),
    "rehearsal_id": (Rehearsal, "rollout__environment"),
    "restore_id": (Restore, "rollout__environment"),
    "environment_id": (Environment, "beside"),
}


class ConsoleRequest(HttpRequest):
    """A request that ``may`` let through: its user is known."""

    htmx: HtmxDetails
    user: User
    """Or of the project's own user model: no more is asked of it than both have."""


View = Callable[Concatenate[ConsoleRequest, P], HttpResponse]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponse]


def may(
    permission: str, *, to_post: str = "", anywhere: bool = False
) -> Callable[[View[P]], Guarded[P]]:
    """Let only those in who have a permission of the app, or ``to_post`` where they change things.

    They need it in the environment that the address is about; ``anywhere`` lets those in who have
    it in any, and the view shows what is in ``environments_seen_by``. Others are sent to log in, or
    told which role they need.
    """

    def decorate(view: View[P]) -> Guarded[P]:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            known = cast(ConsoleRequest, request)
            if not request.user.is_authenticated:
                return _to_login(known)
            needed = permission if request.method in SAFE else to_post or permission
            environment = _asked_about(kwargs)
            within(known.user, environment)
            # The project's own pages for these know nothing of the console, if there are any.
            try:
                if problem := refusal_to_read(request, kwargs):
                    return render(request, "rollout/400.html", {"problem": problem}, status=400)
                if not known.user.has_perm(f"rollout.{needed}") and not (
                    anywhere and environments_seen_by(known.user, needed)
                ):
                    raise PermissionDenied(_refusal(known.user, needed, environment() or ""))
                with in_zone_of(request), shared_connections():
                    response = view(known, *args, **kwargs)
                if isinstance(response, HttpResponseNotAllowed):
                    # Django's 405 has an empty body: people who open a POST-only URL get a page.
                    page = render(request, "rollout/405.html", status=response.status_code)
                    page["Allow"] = response["Allow"]
                    return page
                return response
            except PermissionDenied as refusal:
                return render(request, "rollout/403.html", {"exception": refusal}, status=403)
            except Http404 as missing:
                return render(request, "rollout/404.html", {"exception": missing}, status=404)
            except Closed as closed:
                # A part has no room for the page: let the browser ask for the page itself.
                return HttpResponseClientRefresh() if known.htmx else closed_page(request, closed)
            except (TargetAway, UnknownPlan, *NOT_AS_EXPECTED) as error:
                return away_page(request, error)

        return guarded

    return decorate


def _to_login(request: ConsoleRequest) -> HttpResponse:
    if request.htmx:
        # A fragment has no room for the login page: let the browser ask for the page itself.
        return HttpResponseClientRefresh()
    back = request.get_full_path() if request.method in SAFE else reverse("rollout:overview")
    return redirect_to_login(back, login_url())


def login_url() -> str:
    """Where people log in: ``LOGIN_URL``, or the console's own page where that leads nowhere."""
    try:
        url = resolve_url(settings.LOGIN_URL)
        if url.startswith("/"):
            # What is before the project's own addresses is the web server's affair.
            resolve("/" + url.partition("?")[0].removeprefix(get_script_prefix()).lstrip("/"))
    except (NoReverseMatch, Resolver404):
        return reverse("rollout:login")
    return url


def logout_url() -> str:
    """Where people log out: the project's own page of that name, or the console's."""
    try:
        return reverse("logout")
    except NoReverseMatch:
        return reverse("rollout:logout")


def environments_seen_by(user: User, permission: str) -> list[str]:
    """The environments in which a user has a permission of the app.

    In one made from a snapshot, the permissions of the snapshot's own environment count.
    """
    return [name for name, home in homes().items() if allowed_in(user, permission, home)]


def _asked_about(named: dict[str, Any]) -> Callable[[], str | None]:
    """The environment that an address is about; None for none, or for more than one.

    It is looked for only when somebody without the permission in all environments comes.
    """

    @cache
    def environment() -> str | None:
        environments = {home_of(named["environment"])} if "environment" in named else set()
        for name in OBJECTS.keys() & named.keys():
            model, path = OBJECTS[name]
            objects = model._default_manager.filter(pk=named[name])
            environments |= {home_of(name) for name in objects.values_list(path, flat=True)}
        return environments.pop() if len(environments) == 1 else None

    return environment


def _refusal(user: User, permission: str, environment: str) -> str:
    roles = [role for role, codenames in PERMISSIONS.items() if permission in codenames]
    where = f" in {environment}" if environment in homes() else ""
    return (
        f"Requires the {' or '.join(roles)} role{where}. You are logged in as "
        f"{user.get_username()}. Ask an administrator for access."
    )
