"""Fragments: parts of a page that are polled, how often, and how they are shared.

Many tabs ask for the same. A fragment is rendered once for all users with the same permissions and
cached for a moment; a browser that has it gets a 304. The number of the newest log entry and the
states of active runs are parts of the key, so that nobody misses what they have just done, or that
a worker has begun with it, which no entry says.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import blake2b
from typing import Any, ParamSpec, TypeVar, cast

from django.core.cache import cache
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils import timezone

from rollout.conf import setting
from rollout.console.http.access import ConsoleRequest, View
from rollout.console.http.cookies import hides_guide
from rollout.models import ACTIVE, LogEntry, PhaseRun
from rollout.permissions import PERMISSIONS

P = ParamSpec("P")
Made = TypeVar("Made")

# Seconds between two requests: while work is running, for measurements, otherwise.
FAST, MEASURED, SLOW = 5, 10, 15
# How long a fragment is reused, as a share of its pace: nobody sees anything older.
TTL_SHARE = 0.7

# Header with the time a fragment was made: a newer page ignores it, so nothing goes backwards.
MADE_HEADER = "Rollout-Made"

_TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]+')
_AGO = re.compile(r"(<span data-ago[^>]*>)[^<]*")
_PACE = re.compile(r' data-live="(\d+)"')
_PLACEHOLDER = "a-token-of-your-own"
_VARIES_ON_USER = "rollout_told_apart"
_NEWEST = "rollout_newest_entry"
_CODENAMES = sorted({codename for codenames in PERMISSIONS.values() for codename in codenames})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def reload_seconds(under_way: bool) -> int:
    """Seconds until a page asks again."""
    return FAST if under_way else SLOW


def render_live(request: ConsoleRequest, name: str, page: dict[str, Any]) -> HttpResponse:
    """A page; for htmx its live part, ``name_live.html``, and the rollout's header beside it.

    One answer has both, so that they tell of the same moment.
    """
    if not request.htmx:
        return render(request, f"rollout/{name}.html", page)
    return render(request, "rollout/live.html", {**page, "live_part": f"rollout/{name}_live.html"})


def render_part(request: ConsoleRequest, name: str, page: dict[str, Any]) -> HttpResponse:
    """A page; for htmx, which asks for it once, its part ``name_live.html``."""
    return render(request, f"rollout/{name}{'_live' if request.htmx else ''}.html", page)


def vary_on_user(request: HttpRequest) -> None:
    """What is made for this request is about its user: others do not share it."""
    setattr(request, _VARIES_ON_USER, True)


def cache_fragment(view: View[P]) -> View[P]:
    """Let those who may do the same share what a view answers to htmx. Stands below ``may``."""

    @wraps(view)
    def shown(request: ConsoleRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.htmx or request.method != "GET":
            return view(request, *args, **kwargs)
        key = _key(request)
        own = f"{key}-{request.user.pk}"
        part: Fragment | str | None = cache.get(key)
        if part == _VARIES_ON_USER:
            part = cache.get(own)
        if not isinstance(part, Fragment):
            made = now_ms()
            response = view(request, *args, **kwargs)
            if response.status_code != 200:
                return response
            html = _TOKEN.sub(rf"\g<1>{_PLACEHOLDER}", response.content.decode())
            part = Fragment(html, _tag_of(html), made)
            seconds = kept_for(_seconds_of(html))
            if getattr(request, _VARIES_ON_USER, False):
                cache.set(key, _VARIES_ON_USER, seconds)
                cache.set(own, part, seconds)
            else:
                cache.set(key, part, seconds)
        return _response(request, part)

    return cast(View[P], shown)


@dataclass(frozen=True)
class Fragment:
    """A rendered part, without anybody's CSRF token."""

    html: str
    tag: str
    made: int
    """Milliseconds since 1970."""


def _seconds_of(html: str) -> float:
    """Cache lifetime: just under the page's polling interval."""
    pace = _PACE.search(html)
    return TTL_SHARE * int(pace[1]) if pace else TTL_SHARE * FAST


def kept_for(seconds: float) -> float:
    """Seconds for which something is cached; 0 where the project caches nothing."""
    return seconds if setting("SHARE_PARTS", True) else 0


def kept_until_next_entry(
    request: HttpRequest, kind: str, *about: object, make: Callable[[], Made]
) -> Made:
    """What ``make`` answers, kept for a moment, and no longer than until the next log entry."""
    key = _named(kind, *about, newest_entry(request))
    made: Made | None = cache.get(key)
    if made is None:
        made = make()
        cache.set(key, made, kept_for(TTL_SHARE * SLOW))
    return made


def newest_entry(request: HttpRequest) -> int | None:
    """The number of the newest log entry: asked for once in a request, when its answer is made."""
    if not hasattr(request, _NEWEST):
        setattr(request, _NEWEST, LogEntry.objects.aggregate(newest=Max("pk"))["newest"])
    newest: int | None = getattr(request, _NEWEST)
    return newest


def _key(request: ConsoleRequest) -> str:
    shown = (timezone.get_current_timezone_name(), hides_guide(request))
    active = list(PhaseRun.objects.filter(state__in=ACTIVE).order_by().values_list("pk", "state"))
    now = (newest_entry(request), sorted(active))
    return _named("part", request.get_full_path(), now, _granted(request), shown)


def _granted(request: ConsoleRequest) -> list[str]:
    """What the user may do here, and so is shown; the verb checks again.

    Kept no longer than a part: with five tabs open a user is looked up for one of them.
    """
    key = _named("granted", request.user.pk, request.path)
    granted: list[str] | None = cache.get(key)
    if granted is None:
        may = request.user.has_perm
        granted = [codename for codename in _CODENAMES if may(f"rollout.{codename}")]
        cache.set(key, granted, kept_for(TTL_SHARE * FAST))
    return granted


def _named(kind: str, *about: object) -> str:
    return f"rollout-{kind}-{blake2b(repr(about).encode(), digest_size=16).hexdigest()}"


def _tag_of(html: str) -> str:
    """The same for the same content, however long ago things are by now."""
    text = _AGO.sub(r"\1", html)
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'


def _response(request: ConsoleRequest, part: Fragment) -> HttpResponse:
    html = part.html
    response: HttpResponse
    if request.headers.get("If-None-Match") == part.tag:
        response = HttpResponseNotModified()
    else:
        if _PLACEHOLDER in html:
            html = html.replace(_PLACEHOLDER, get_token(request))
        response = HttpResponse(html)
    response["ETag"] = part.tag
    response[MADE_HEADER] = str(part.made)
    return response
