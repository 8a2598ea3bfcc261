"""How long somebody stays logged in, and when they are asked for their password again."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, cast

from django import forms
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, authenticate, logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from rollout.conf import setting
from rollout.console.http.access import SAFE, ConsoleRequest, View, may
from rollout.console.http.links import page_of_ours
from rollout.models import Direction, PhaseRun
from rollout.plan import plans
from rollout.plan.registry import UnknownPlan

P = ParamSpec("P")

# Session keys of times, in seconds since 1970: login, last use, last password check.
LOGGED_IN, SEEN, CONFIRMED = "rollout_logged_in", "rollout_seen", "rollout_confirmed"
# Session key: the press that was held back until the password is given: its address, its fields.
HELD_BACK = "rollout_held_back"
# Characters of a field that is kept meanwhile: more than any form takes.
MAX_KEPT = 2000
_SENT_BEFORE = "rollout_sent_before"
LIMITS = {"IDLE_MINUTES": 120, "HOURS": 12, "CONFIRM_MINUTES": 15}
SEEN_EVERY_SECONDS = 60


# Clocks of several machines differ; a time that lies further ahead is of one that was set back.
SKEW_SECONDS = 60


def _seconds(name: str, unit: int) -> int:
    return setting("SESSIONS", LIMITS).get(name, LIMITS[name]) * unit


def note_login(*, request: HttpRequest, **_: Any) -> None:
    now = time.time()
    for name in (LOGGED_IN, SEEN, CONFIRMED):
        request.session[name] = now


user_logged_in.connect(note_login)


class SessionLimits:
    """Middleware: ends a session that was not used for a while, or that is old.

    Requests that a page repeats on its own do not count as use: a screen left open expires too.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session:
            self._heed(request)
        return self.get_response(request)

    def _heed(self, request: HttpRequest) -> None:
        session, now = request.session, time.time()
        idle = now - session.get(SEEN, now)
        if idle > _seconds("IDLE_MINUTES", 60):
            why = "You were logged out after a period of inactivity."
        elif not _is_within(_seconds("HOURS", 3600), session.get(LOGGED_IN, now)):
            why = "Your session expired."
        else:
            asked_by_itself = "HX-Request" in request.headers and request.method in SAFE
            if LOGGED_IN not in session or (idle > SEEN_EVERY_SECONDS and not asked_by_itself):
                session.setdefault(LOGGED_IN, now)
                session[SEEN] = now
            return
        logout(request)
        messages.info(request, f"{why} Log in again to continue.")


Condition = Callable[[HttpRequest, dict[str, Any]], bool]


def always(request: HttpRequest, named: dict[str, Any]) -> bool:
    return True


def guarded(request: HttpRequest, named: dict[str, Any]) -> bool:
    """Whether the address names a phase with a destructive or restrictive step."""
    try:
        plan = plans.get(named["plan"])
    except UnknownPlan:
        return False
    number = named["number"]
    return number < len(plan.phases) and plan.is_guarded(number)


def is_guarded(run: PhaseRun | None) -> bool:
    """Whether the password is requested again before a run is carried on."""
    if run is None:
        return False
    return run.direction != Direction.FORWARD or plans.get(run.rollout.plan).is_guarded(run.phase)


def confirmed_recently(
    when: Condition = always, *, has_form: bool = False
) -> Callable[[View[P]], View[P]]:
    """Ask for the password again, unless it was given within the last minutes.

    Stands below ``may``. Confirmation pages ask before the form; unconfirmed POSTs are
    discarded. With ``has_form`` the address has a form too, to which people return then; by
    ``field_sent`` it shows once what they had filled in. Only a part of a page that
    polls is let through, and only to read: the header that says so is the client's own.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def asking(request: ConsoleRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            reads = request.method in SAFE
            polls = bool(request.htmx) and reads
            if polls or not when(request, kwargs) or is_confirmed(request):
                if has_form and not polls:
                    address, fields = request.session.pop(HELD_BACK, ("", {}))
                    setattr(request, _SENT_BEFORE, fields if address == request.path else {})
                return view(request, *args, **kwargs)
            request.session.pop(HELD_BACK, None)
            if reads:
                return _to_confirm(request.get_full_path())
            fields = {name: str(request.POST[name])[:MAX_KEPT] for name in request.POST}
            fields.pop("csrfmiddlewaretoken", None)
            request.session[HELD_BACK] = [request.path, fields if has_form else {}]
            messages.warning(request, "Confirm your password, then repeat the action.")
            return _to_confirm(request.path if has_form else _page_before(request))

        return cast(View[P], asking)

    return decorate


def field_sent(request: HttpRequest, name: str) -> str:
    """What a form shows in a field: what was sent, also before the password was requested."""
    sent = request.POST if request.method == "POST" else getattr(request, _SENT_BEFORE, {})
    return str(sent.get(name, ""))


def is_confirmed(request: HttpRequest) -> bool:
    return _is_within(_seconds("CONFIRM_MINUTES", 60), request.session.get(CONFIRMED, 0))


def _is_within(seconds: int, since: float) -> bool:
    """Whether a time is no longer ago; nobody can tell of one that has not come yet."""
    return -SKEW_SECONDS <= time.time() - since < seconds


class PasswordForm(forms.Form):
    password = forms.CharField(
        widget=forms.PasswordInput({"autocomplete": "current-password", "autofocus": True})
    )


@may("view_rollout", anywhere=True)
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: ConsoleRequest) -> HttpResponse:
    """Asks for the password; who logs in elsewhere (single sign-on) is sent to log in again."""
    asked = request.POST if request.method == "POST" else request.GET
    page = _safe(request, asked.get("next", ""))
    if not request.user.has_usable_password():
        if request.method != "POST":
            return _page(request, page, None)
        logout(request)
        return redirect_to_login(page)
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        if _is_theirs(request, request.user, form.cleaned_data["password"]):
            request.session[CONFIRMED] = time.time()
            request.session.cycle_key()
            if held_back := request.session.get(HELD_BACK):
                if not held_back[1]:
                    del request.session[HELD_BACK]
                messages.warning(request, "Password confirmed. Nothing has changed: press again.")
            return redirect(page)
        form.add_error("password", "Incorrect password. Try again.")
    return _page(request, page, form)


def _is_theirs(request: HttpRequest, user: User, password: str) -> bool:
    """Whether the password is this user's. Failures count as failed logins do."""
    names = {user.USERNAME_FIELD: user.get_username(), "password": password}
    authenticated = authenticate(request, **names)
    return authenticated is not None and authenticated.pk == user.pk


def _page(request: HttpRequest, page: str, form: PasswordForm | None) -> HttpResponse:
    minutes = _seconds("CONFIRM_MINUTES", 1)
    return render(
        request,
        "rollout/confirm_password.html",
        {"next": page, "form": form, "minutes": minutes},
        status=422 if form and form.errors else 200,
    )


def _to_confirm(page: str) -> HttpResponse:
    return redirect(reverse("rollout:confirm", query={"next": page}))


def _page_before(request: HttpRequest) -> str:
    """The page of ours that a form was sent from."""
    return _safe(request, request.headers.get("Referer", ""))


def _safe(request: HttpRequest, page: str) -> str:
    return page_of_ours(request, page, reverse("rollout:overview"))
