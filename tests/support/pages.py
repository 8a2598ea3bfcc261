"""Every page there is, and what must not be in its HTML."""

from html.parser import HTMLParser

from rollout.models import Rollout
from tests.console.http.test_access import (
    OF_OTHER_PLANS,
    PARTS_OF_PAGES,
    POST_ONLY,
    WHO_MAY,
    last_part,
    named,
)

OF_THE_SITE = (
    *("/properties/", "/properties/new/", "/admin/", "/admin/auth/user/", "/admin/auth/user/add/"),
    *("/admin/rollout/phaserun/", "/admin/axes/accessattempt/"),
)
NAMED_BESIDES = {"repair": "?table=properties&column=currency"}
"""What the addresses of some pages name besides."""


def addresses_of_the_console(rollout: Rollout) -> list[str]:
    """The address of each page of the console, after what it shows was put into the journal."""
    names = named(rollout)
    return [
        "/rollout/" + pattern.format(**names) + NAMED_BESIDES.get(last_part(pattern), "")
        for pattern in WHO_MAY
        # A download is no page, and a part of one leads to it.
        if last_part(pattern) not in POST_ONLY
        and "." not in last_part(pattern)
        and not pattern.endswith(PARTS_OF_PAGES)
        and not pattern.startswith(OF_OTHER_PLANS)
    ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "style" or (tag == "script" and "src" not in given and not _is_data(given)):
            self.inline.append(f"<{tag}>")
        for name, value in attrs:
            if (
                name == "style"
                or name.startswith("on")
                or (value or "").strip().lower().startswith("javascript:")
            ):
                self.inline.append(f"<{tag} {name}={value!r}>")


def _is_data(attributes: dict[str, str | None]) -> bool:
    return attributes.get("type") == "application/json"


def inline_in(html: str) -> list[str]:
    """Inline scripts and styles, event handlers and addresses that are scripts."""
    reader = _Reader()
    reader.feed(html)
    return reader.inline


def tags_in(html: str) -> set[str]:
    """The names of the elements of a page."""
    reader = _Reader()
    reader.feed(html)
    return reader.tags
