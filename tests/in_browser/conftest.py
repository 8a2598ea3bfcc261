"""One Chromium for all tests here, and one web server for those of a module."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import manage_process, stopped_after, web_server
from tests.support.servers import Database, database_of_its_own

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pytest_django.plugin import DjangoDbBlocker

    from tests.in_browser.visiting import Site

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def database(template: str, django_db_blocker: "DjangoDbBlocker") -> Iterator[Database]:
    with django_db_blocker.unblock(), database_of_its_own(template) as database:
        yield database


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """Of the site's environment, beside those of each."""
    return {}


@pytest.fixture(scope="package")
def chromium() -> Iterator["Browser"]:
    """Started once: each site's tests have contexts of their own in it."""
    if not CHROMIUM.exists() and not os.environ.get("CI"):
        pytest.skip(f"there is no {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright has an event loop in this thread, where Django sees danger. There is none: the
        # loop waits while a test runs.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(
    chromium: "Browser",
    database: Database,
    variables: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["Site"]:
    from django.db import connections

    from tests.in_browser.visiting import Site

    log = tmp_path_factory.mktemp("site") / "web.log"
    with web_server(database.env(SERVE_MEDIA="1", **variables), log=log) as address:
        yield Site(address, chromium)
        # Beside an event loop Django keeps other connections than without one.
        connections.close_all()


@pytest.fixture(scope="module")
def worker(
    database: Database, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A real queue cluster and a watchdog that work on the site's database."""
    logs = tmp_path_factory.mktemp("worker")
    env = database.env(LOG_LEVEL="INFO", **variables)
    with (
        stopped_after(manage_process("qcluster", env=env, log=logs / "qcluster.log")) as cluster,
        stopped_after(manage_process("rollout", "watchdog", env=env, log=logs / "watchdog.log")),
    ):
        cluster.wait_for(lambda: "running" in cluster.output())
        yield
