"""Chromium as somebody's browser: what they see, and everything that went wrong meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
)

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# Milliseconds for which a page is waited for on a machine that has much else to do.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
COLOURS = ["color-contrast", "link-in-text-block"]
# All that is looked at is in the page; looking further costs half of the time.
# Colours that are on their way to others are none.
RUN_AXE = """async only => {
    await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const changing = document.getAnimations().filter(one => one instanceof CSSTransition);
    await Promise.all(changing.map(one => one.finished.catch(() => {})));
    const {violations} = await axe.run(document, {
        runOnly: only, resultTypes: ["violations"], iframes: false, preload: false,
    });
    return violations;
}"""

# What axe-core has no rule for: a chart's numbers can be read, and nobody is interrupted.
OURS = """() => [
    ...[...document.querySelectorAll("svg.plot")]
        .filter(one => !one.closest("section")?.querySelector("table"))
        .map(one => `chart without a table: ${one.outerHTML.slice(0, 200)}`),
    ...[...document.querySelectorAll("[aria-live]:not([aria-live=polite])")]
        .map(one => `live region that interrupts: ${one.outerHTML.slice(0, 200)}`),
]"""


@dataclass
class Visitor:
    """Somebody's page. ``problems``: console errors, violations of the policy, failed requests."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)

    def press(self, name: str, *, role: Literal["button", "link"] = "button") -> None:
        self.page.get_by_role(role, name=name, exact=True).first.click()

    def goes_to(self, place: Locator) -> None:
        """By the keyboard alone, from wherever the focus is."""
        for _ in range(200):
            self.page.keyboard.press("Tab")
            if place.evaluate("it => it === document.activeElement"):
                return
        raise AssertionError(f"no Tab leads to {place}")

    def reads(self, text: str, *, seconds: float = PATIENCE / 1000) -> None:
        """Waits until the page says so; a page without scripts is requested again and again."""
        place = self.page.get_by_text(text).first
        place.wait_for(timeout=seconds * 1000)

    def ask_again(self) -> None:
        """As when a tab is looked at again: its live parts ask at once."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    @property
    def text(self) -> str:
        return self.page.inner_text("body")

    def barriers(self, *, colours_alone: bool = False) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and what we do, a line for each element."""
        only: dict[str, Any] = (
            {"type": "rule", "values": COLOURS}
            if colours_alone
            else {"type": "tag", "values": WCAG}
        )
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        violations = self.page.evaluate(RUN_AXE, only)
        ours: list[str] = [] if colours_alone else self.page.evaluate(OURS)
        return ours + [
            f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in violations
            for node in violation["nodes"]
        ]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # A part that was being asked for when the page was left.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.problems.append(f"{request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} of {response.url}")


@dataclass
class Walk:
    """Somebody's way through a rollout by clicks alone, which are counted."""

    visitor: Visitor
    clicks: int = 0

    def click(self, place: Locator) -> None:
        """Click once it can be; the page that this leads to is one of the rollout's tabs."""
        place.first.click()
        self.clicks += 1
        self.visitor.page.wait_for_load_state()
        # A page that is only now on its way has no tabs yet.
        self.visitor.page.locator(".rollout-state + .actions + nav.tabs").wait_for()

    def press(self, name: str, *, role: Literal["button", "link"] = "button") -> None:
        self.click(self.visitor.page.get_by_role(role, name=name, exact=True))


@dataclass(frozen=True)
class Site:
    """A web server of the site, and the one browser of this module."""

    address: str
    chromium: Browser

    @contextmanager
    def visitor(
        self,
        who: str = "",
        *,
        scripts: bool = True,
        scheme: Literal["light", "dark"] = "light",
        size: dict[str, int] = DESK,
    ) -> Iterator[Visitor]:
        """Somebody with a role, logged in; "" is nobody yet, "lead2" a lead, "root" may all."""
        context = self.chromium.new_context(
            java_script_enabled=scripts,
            color_scheme=scheme,
            reduced_motion="reduce",
            viewport={"width": size["width"], "height": size["height"]},
        )
        context.set_default_timeout(PATIENCE)
        try:
            if who:
                context.add_cookies(
                    [
                        {
                            "name": settings.SESSION_COOKIE_NAME,
                            "value": session_of(who),
                            "url": self.address,
                        }
                    ]
                )
            yield Visitor(context.new_page(), self.address)
        finally:
            context.close()


def session_of(who: str) -> str:
    user, _made = User.objects.get_or_create(username=who)
    if who == "root":
        User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
    else:
        user.groups.add(Group.objects.get(name=who.rstrip("2")))
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
