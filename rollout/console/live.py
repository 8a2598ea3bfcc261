"""Parts of a page that ask again by themselves: at which pace, and what an answer costs.

Many tabs ask for the same. A part is made once for all who may see the same, kept for a moment and
given out again; a browser that has it already is told so (304). What somebody does is in the audit
log, and the newest entry's number belongs to the key: nobody sees less than what they just did.
"""

import re
import time
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import ParamSpec, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import Max
from django.http import HttpResponse, HttpResponseNotModified
from django.middleware.csrf import get_token
from django.utils import timezone

from rollout.console.access import ConsoleRequest, View
from rollout.models import LogEntry
from rollout.roles import PERMISSIONS

P = ParamSpec("P")

FAST, MEASURED, SLOW = 3, 10, 15
"""Seconds between two questions: while something is under way, where it is measured, else."""
KEPT_SECONDS = 1.5
"""How long a part is given out again; what is seen is at most so old."""

MADE = "Rollout-Made"
"""When a part was made: a page that is newer leaves it aside, so that nothing goes backwards."""

_TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")[^"]+')
_AGO = re.compile(r"(<span data-ago[^>]*>)[^<]*")
_PLACE = "a-token-of-your-own"
_CODENAMES = sorted({codename for codenames in PERMISSIONS.values() for codename in codenames})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def pace(under_way: bool) -> int:
    """Seconds until a page asks again."""
    return FAST if under_way else SLOW


Sees = Callable[[User], bool]


def nobody(user: User) -> bool:
    return False


def everybody(user: User) -> bool:
    return True


def who_may(permission: str) -> Sees:
    return lambda user: user.has_perm(f"rollout.{permission}")


def shared(*, apart: Sees = nobody) -> Callable[[View[P]], View[P]]:
    """Let those who may do the same share what a view answers to htmx. Stands below ``may``.

    Those of whom ``apart`` is true share with nobody: what they see is about themselves.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def shown(request: ConsoleRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.htmx or request.method != "GET":
                return view(request, *args, **kwargs)
            key = _key(request, apart)
            kept = cast(tuple[str, str, int] | None, cache.get(key))
            if kept is None:
                made = now_ms()
                response = view(request, *args, **kwargs)
                if response.status_code != 200:
                    return response
                html = _TOKEN.sub(rf"\g<1>{_PLACE}", response.content.decode())
                kept = (html, _tag_of(html), made)
                cache.set(key, kept, _kept_seconds())
            return _answer(request, *kept)

        return cast(View[P], shown)

    return decorate


def kept_for(seconds: float) -> float:
    """For so long something is kept; not at all where nothing is to be shared."""
    return seconds if _kept_seconds() else 0


def _kept_seconds() -> float:
    given: float = getattr(settings, "ROLLOUT", {}).get("SHARE_PARTS_SECONDS", KEPT_SECONDS)
    return given


def _key(request: ConsoleRequest, apart: Sees) -> str:
    newest = LogEntry.objects.aggregate(newest=Max("pk"))["newest"]
    user = request.user
    granted = [codename for codename in _CODENAMES if user.has_perm(f"rollout.{codename}")]
    themselves = user.pk if apart(user) else None
    zone = timezone.get_current_timezone_name()
    parts = repr((request.get_full_path(), newest, granted, themselves, zone))
    return f"rollout-part-{blake2b(parts.encode(), digest_size=16).hexdigest()}"


def _tag_of(html: str) -> str:
    """The same for the same content, however long ago things are by now."""
    text = _AGO.sub(r"\1", html)
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'


def _answer(request: ConsoleRequest, html: str, tag: str, made: int) -> HttpResponse:
    response: HttpResponse
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponseNotModified()
    else:
        if _PLACE in html:
            html = html.replace(_PLACE, get_token(request))
        response = HttpResponse(html)
    response["ETag"] = tag
    response[MADE] = str(made)
    return response
