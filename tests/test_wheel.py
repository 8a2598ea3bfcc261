"""The built wheel in another project: its own tables, users, addresses and databases."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from config import embedded
from tests.engine.test_every_phase import schema_lines
from tests.support.browser import Browser
from tests.support.company import Company, build_distributions, make_company, make_environment
from tests.support.processes import Running, answers, free_port, stopped_after

pytestmark = pytest.mark.xdist_group("wheel")

CONSOLE = "/company/ops/console/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("environment")
    make_environment(directory, wheel)
    return directory


@pytest.fixture
def databases() -> Iterator[dict[str, str]]:
    """Two empty databases, and the variables that tell the project of them."""
    server = os.environ["DATABASE_URL"]
    names = {
        "APPLICATION_DATABASE": f"company_{uuid4().hex}",
        "JOURNAL_DATABASE": f"journal_{uuid4().hex}",
    }
    urls = [embedded.with_database(server, name) for name in names.values()]
    for url in urls:
        embedded.create_database(url)
    yield {**names, "SERVER_URL": server}
    for url in urls:
        embedded.drop_database(url)


@pytest.fixture
def company(environment: Path, databases: dict[str, str], tmp_path: Path) -> Company:
    return make_company(tmp_path, environment, databases)


def test_the_wheel_holds_the_package_with_its_templates_static_files_and_migrations_alone(
    wheel: Path,
) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {
        "rollout",
        "rollout_console",
    }
    for needed in (
        "rollout/templates/rollout/overview.html",
        "rollout/templates/rollout/scaffold.py-tpl",
        "rollout/console/glossary.md",
        "rollout/console/runbook.md",
        "rollout/static/rollout/charts.css",
        "rollout/static/rollout/console.css",
        "rollout/static/rollout/lists.css",
        "rollout/static/rollout/narrow.css",
        "rollout/static/rollout/pages.css",
        "rollout/static/rollout/work.css",
        "rollout/static/rollout/console.js",
        "rollout/static/rollout/crosshairs.js",
        "rollout/static/rollout/palette.js",
        "rollout/static/rollout/keyboard.js",
        "rollout/migrations/0001_initial.py",
        "rollout/management/commands/rollout.py",
    ):
        assert needed in names


def test_another_project_goes_forward_and_back_with_nothing_but_the_wheel(
    company: Company, databases: dict[str, str]
) -> None:
    url = embedded.with_database(databases["SERVER_URL"], databases["APPLICATION_DATABASE"])
    company.manage_in_turn(
        ("makemigrations", "staff"),
        ("migrate",),
        ("migrate", "--database", "journal"),
        ("collectstatic", "--no-input"),
    )
    wrote = company.manage("rollout", "scaffold", "readings", "readings_reading", "quality")
    assert "the plan 'readings-reading-quality'" in wrote
    assert "no issues" in company.manage("check", "--database", "default")
    schema, texts = schema_lines(url), texts_of(url)
    with ExitStack() as stack:
        address = serve(company, stack)
        for name in ("qcluster", "rollout watchdog"):
            stack.enter_context(stopped_after(process(company, "manage.py", *name.split())))
        driven = company.run("drive.py", "4")
        assert driven.split("\n") == ["there", "and back", ""]
        look_round(log_in(address))
    assert schema_lines(url) == schema
    assert texts_of(url) == texts
    of_the_console = {"rollout_rollout", "django_q_ormq", "staff_member", "auth_group"}
    assert tables_of(url, "public") & of_the_console == set()
    journal = embedded.with_database(databases["SERVER_URL"], databases["JOURNAL_DATABASE"])
    assert tables_of(journal, "public") >= of_the_console
    assert not any(table.startswith("readings") for table in tables_of(journal, "public"))


def process(company: Company, *command: str) -> Running:
    log = company.directory / f"{command[-1]}.log"
    return Running(
        [company.python, *command], env=company.env, log=log, directory=company.directory
    )


def serve(company: Company, stack: ExitStack) -> str:
    port = free_port()
    server = stack.enter_context(stopped_after(process(company, "serve.py", str(port))))
    address = f"http://127.0.0.1:{port}"
    server.wait_for(lambda: answers(f"{address}{CONSOLE}login/"))
    return address


def log_in(address: str) -> Browser:
    """Whoever asks for a page comes to the console's own login, and from there to the page."""
    browser = Browser(address)
    page = browser.get(f"{CONSOLE}log/")
    assert page.url == f"{address}{CONSOLE}login/?next={CONSOLE}log/", page.text
    answer = browser.post(
        page.url.removeprefix(address),
        page.token,
        username="lead@company.example",
        password="of-the-test",
    )
    assert answer.url == f"{address}{CONSOLE}log/", answer.text
    return browser


def look_round(browser: Browser) -> None:
    overview = browser.get(CONSOLE)
    assert overview.status == 200
    assert "lead@company.example" in overview.text
    assert "Readings" not in overview.text.split("Rollouts")[0]
    for page in ("shop/production/", "shop/production/phases/4/", "shop/production/mappings/"):
        shown = browser.get(f"{CONSOLE}{page}")
        assert (shown.status, "Rollout" in shown.text) == (200, True), shown.text
    missing = browser.get(f"{CONSOLE}nonsense/production/")
    assert (missing.status, "Go to rollouts" in missing.text) == (404, True)


def texts_of(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return [
            row
            for query in (
                'SELECT "Id"::text, "State" FROM "Sales"."Order" ORDER BY 1',
                'SELECT order_no, "No", "Kind", paid FROM "Sales".line ORDER BY 1, 2',
                "SELECT station, at, quality, value FROM readings_reading ORDER BY 1, 2",
            )
            for row in connection.execute(query.encode()).fetchall()
        ]


def tables_of(url: str, schema: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]
        ).fetchall()
    return {name for (name,) in rows}
