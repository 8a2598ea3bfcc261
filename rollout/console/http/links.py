"""Where people go from a page: to others of a rollout, back, or to the application's rows."""

from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString

from rollout.conf import setting
from rollout.journal.runbook import GATES, Entry
from rollout.models import LogEntry, Rollout


class Link(NamedTuple):
    name: str
    url: str
    current: bool


class Named(Protocol):
    """A rollout, or what names one, as an entry of the activity log does."""

    plan: str
    environment: str


def rollout_url(rollout: Named, page: str, *args: object) -> str:
    """A page of a rollout, by its name in ``urls.py`` and what else its address has."""
    return reverse(f"rollout:{page}", args=[rollout.plan, rollout.environment, *args])


def entry_url(entry: LogEntry, rollout: Rollout | str = "") -> str:
    """The page of an entry of the activity log; among the pages of ``rollout`` where one is."""
    if isinstance(rollout, str):
        return reverse("rollout:log-entry", args=[entry.pk])
    return rollout_url(rollout, "activity-entry", entry.pk)


def page_of_ours(request: HttpRequest, address: str, otherwise: str) -> str:
    """The path of a page of this site that a browser names; ``otherwise`` for anything else."""
    own = {request.get_host()}
    if not url_has_allowed_host_and_scheme(
        address, allowed_hosts=own, require_https=request.is_secure()
    ):
        return otherwise
    page = urlsplit(address)._replace(scheme="", netloc="").geturl()
    # Behind a host of ours a path may look like another host.
    is_path = page.startswith("/") and url_has_allowed_host_and_scheme(page, allowed_hosts=None)
    return page if is_path else otherwise


def back_here(request: HttpRequest) -> str:
    """The page itself, for a form that leads back to it: without where the page leads in turn."""
    query = request.GET.copy()
    query.pop("next", None)
    return f"{request.path}?{query.urlencode()}" if query else request.path


def application_links(request: HttpRequest) -> list[Link]:
    """The links of ``ROLLOUT["LINKS"]``: name to URL name or address."""
    links = setting("LINKS", dict[str, str]())
    urls = {name: resolve_url(to) for name, to in links.items()}
    return [Link(name, url, request.path.startswith(url)) for name, url in urls.items()]


def user_menu() -> str:
    """The project's template for the place of the user's name: ``ROLLOUT["USER_MENU"]``."""
    return setting("USER_MENU", "")


def runbook_url(entry: Entry) -> str:
    """In the documents, where ``ROLLOUT["DOCS_URL"]`` says where these are, else in the console."""
    return entry.url or f"{reverse('rollout:runbook')}#{entry.value}"


def runbook(anchor: str) -> SafeString:
    """An entry of the runbook, as a link."""
    entry = Entry(anchor)
    return format_html("Runbook: {}", _named(entry))


def runbook_of_gate(name: str) -> SafeString:
    """The entry about a gate that fails; empty where its own message says what to do."""
    return format_html("{}.", runbook(GATES[name])) if name in GATES else SafeString("")


def runbook_links(text: str) -> SafeString:
    """A text whose references to entries of the runbook are links."""
    html = str(conditional_escape(text))
    for entry in Entry:
        plain = str(conditional_escape(entry.reference))
        if plain in html:
            html = html.replace(plain, format_html("Runbook: {}.", _named(entry)))
    return SafeString(html)


def _named(entry: Entry) -> SafeString:
    return format_html('<a href="{}">{}</a>', runbook_url(entry), entry.heading)


def row_url(table: str, key: str) -> str:
    """The page of a row in the application, where ``ROLLOUT["ROW_URLS"]`` says how it is made.

    The parts of a composite key are joined by a comma.
    """
    pattern = setting("ROW_URLS", dict[str, str]()).get(table, "")
    return pattern.format(key=quote(key, safe=""))
