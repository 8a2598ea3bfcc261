"""Cookies: the time zone of the browser, the theme, and whether the guide is hidden."""

from contextlib import AbstractContextManager
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.utils import timezone

# Names of cookies. console.js sets the zone; without scripts, times stay in the site's zone.
ZONE, THEME, GUIDE = "zone", "theme", "guide"
THEMES = ("light", "dark")
HIDDEN = "hidden"


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # No zone of ours: a name from a newer list, or anything that a browser may send.
        return None


def in_zone_of(request: HttpRequest) -> AbstractContextManager[None]:
    """Within, times are in the browser's zone; in the site's own where that is not known."""
    known = _zone(unquote(request.COOKIES.get(ZONE, ""))[:64])
    return timezone.override(known or timezone.get_default_timezone())


def theme_of(request: HttpRequest | None) -> str:
    """Light, dark, or an empty text: as the system has it."""
    theme = request.COOKIES.get(THEME, "") if request is not None else ""
    return theme if theme in THEMES else ""


def hides_guide(request: HttpRequest) -> bool:
    """Whether the guide on a rollout's page was hidden in this browser."""
    return request.COOKIES.get(GUIDE) == HIDDEN
