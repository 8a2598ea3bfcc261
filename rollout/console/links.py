"""Where else people go from the console: the pages of the application that it changes."""

from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url


class Link(NamedTuple):
    name: str
    url: str
    current: bool


def back_here(request: HttpRequest) -> str:
    """The page itself, for a form that leads back to it: without where the page leads in turn."""
    query = request.GET.copy()
    query.pop("next", None)
    return f"{request.path}?{query.urlencode()}" if query else request.path


def application_links(request: HttpRequest) -> list[Link]:
    """Those of ``ROLLOUT["LINKS"]``: name to URL name or address."""
    links: dict[str, str] = getattr(settings, "ROLLOUT", {}).get("LINKS", {})
    urls = {name: resolve_url(to) for name, to in links.items()}
    return [Link(name, url, request.path.startswith(url)) for name, url in urls.items()]
