"""Every example of the pages about a plan of your own is run, as it stands there."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as django_connection

from config.home import ROOT
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.engine.target import install as install_engine
from rollout.journal.environments import target_of
from rollout.plan import Plan, SqlFiles
from tests.engine.actions import do_phase, undo_phase
from tests.support.servers import Database

PAGES = ("install", "own-plan", "application", "sql-steps")
TEXT = "".join((ROOT / f"docs/{page}.md").read_text() for page in PAGES)
COLUMNS = "id bigint PRIMARY KEY, state varchar(20) NOT NULL, paid text, sent_at timestamptz"


def examples(kind: str, name: str) -> str:
    """The code of a kind and name, in the order of the page."""
    blocks = re.findall(rf"```{kind} title=\"{re.escape(name)}\"\n(.*?)```", TEXT, re.DOTALL)
    assert blocks, f"there is no example {kind} {name}"
    return "\n".join(blocks)


def run(source: str, **names: Any) -> dict[str, Any]:
    exec(compile(source, "docs/own-plan.md", "exec"), names)  # noqa: S102
    return names


@pytest.fixture
def plan(own_plans: None) -> Plan:
    made = run(examples("python", "shop/rollout.py"))["PLAN"]
    assert isinstance(made, Plan)
    return made


@pytest.fixture
def target(committed_db: Database) -> Target:
    return target_of("production")


@pytest.fixture
def connection(target: Target) -> Iterator[Connection]:
    with target.connect() as opened:
        install_engine(opened)
        opened.execute(f"CREATE TABLE shop_order ({COLUMNS})".encode())
        opened.execute("CREATE INDEX shop_order_state ON shop_order (state)")
        opened.execute(
            "INSERT INTO shop_order SELECT n, (ARRAY['Open', 'canceled', 'Cancelled ', 'void'])"
            "[1 + n % 4], (ARRAY['yes', NULL])[1 + n % 2] FROM generate_series(1, 40) AS n"
        )
        yield opened


def with_files(plan: Plan, directory: Path) -> Plan:
    """The plan with the page's SQL files among the steps of phase 4."""
    (directory / "migrations" / "rollout").mkdir(parents=True)
    for direction in ("up", "down"):
        name = f"010_order_notes.{direction}.sql"
        (directory / "migrations" / "rollout" / name).write_text(examples("sql", name))
    names = run(
        examples("python", "shop/rollout.py, further down"), __file__=str(directory / "rollout.py")
    )
    assert isinstance(names["FILES"], SqlFiles)
    last = replace(plan.phases[4], steps=(*plan.phases[4].steps, *names["MORE_STEPS"]))
    return replace(plan, phases=(*plan.phases[:4], last))


def test_the_plan_passes_the_checks_and_goes_forward_and_back_with_the_application_beside_it(
    plan: Plan, target: Target, connection: Connection, tmp_path: Path
) -> None:
    plan = with_files(plan, tmp_path)
    assert check_plan(plan) == []
    set_state = run(examples("python", "shop/orders.py"), connection=django_connection)["set_state"]
    for number in range(5):
        do_phase(target, connection, plan, number)
        # A synonym, which the application itself has to understand from phase 3 on.
        set_state(1 + number, "Void " if number > 2 else "Cancelled")
    known = connection.execute("SELECT name FROM shop_order_states ORDER BY 1").fetchall()
    # There is no blank text, and so no row for one.
    assert known == [("Cancelled",), ("Open",)]
    assert connection.execute("SELECT count(*) FROM shop_order_notes").fetchone() == (0,)
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    rows = connection.execute("SELECT id, state, paid FROM shop_order ORDER BY id").fetchall()
    # Order 4 has the spelling that most rows of its value had when they were mapped; order 5 meant
    # the same before, so that it has its own spelling again.
    assert [state for _, state, _ in rows[:5]] == [*["Cancelled"] * 3, "void", "canceled"]
    assert [state for _, state, _ in rows[5:9]] == ["Cancelled ", "void", "Open", "canceled"]
    assert connection.execute("SELECT to_regclass('shop_order_notes')").fetchone() == (None,)


def test_the_settings_and_addresses_are_those_that_the_checks_ask_for(settings: Any) -> None:
    from rollout.checks.projects import check_project

    names = run(
        examples("python", "settings.py"),
        # As lists and as tuples: projects have both.
        BASE_DIR=ROOT,
        INSTALLED_APPS=(),
        MIDDLEWARE=[name for name in settings.MIDDLEWARE if "htmx" not in name],
    )
    assert set(names["STORAGES"]) == {"default", "staticfiles", "snapshots"}
    for name in ("STORAGES", "MIDDLEWARE", "ROLLOUT", "Q_CLUSTER"):
        setattr(settings, name, names[name])
    assert check_project() == []
    assert "rollout" in names["INSTALLED_APPS"]
    urls = run(examples("python", "urls.py"), urlpatterns=[])
    assert len(urls["urlpatterns"]) == 1
