"""The page about Django: an ordinary project goes through the releases, as it says."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from config import embedded
from config.home import ROOT
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.docs.test_own_plan import examples as examples_of_own_plan
from tests.docs.test_own_plan import run
from tests.engine.actions import do_phase
from tests.engine.test_every_phase import schema_lines
from tests.support.django_projects import Project, make_project

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs/django.md").read_text()
RELEASES = {"B": 1, "C": 3, "D": 4}
TESTS = """
from django.test import TestCase

from rollout.lookups import lookup_id
from rollout.modes import current_modes
from shop.models import Order, OrderState


class Orders(TestCase):
    def test_an_order_has_a_state(self):
        with current_modes("order-states") as modes:
            self.assertEqual((modes.read, modes.write), ("new", "new"))
        void = OrderState.objects.get(pk=lookup_id("order-states", "shop_order.state", "void"))
        self.assertEqual(void, OrderState.objects.get_by_natural_key("Cancelled"))
        order = Order.objects.create(state="void", is_paid=True)
        self.assertEqual(Order.objects.get(state="canceled").state, "Cancelled")
        self.assertEqual(Order.objects.filter(state__startswith="Can").get(), order)
        Order.objects.update(state="Quite new")
        self.assertEqual(OrderState.objects.get(name="Quite new").active, True)
"""
TESTS_WITHOUT_ROLLOUT = """
from django.test import TestCase

from shop.models import Order, OrderState


class Orders(TestCase):
    def test_an_order_has_a_state(self):
        state = OrderState.objects.create(name="Open")
        order = Order.objects.create(state=state.name, is_paid=True)
        self.assertEqual(Order.objects.get(state="Open").state, "Open")
        self.assertEqual(list(Order.objects.exclude(state="Sold")), [order])
"""


def example(name: str) -> str:
    (block,) = re.findall(rf"```python title=\"{re.escape(name)}\"\n(.*?)```", TEXT, re.DOTALL)
    return str(block)


@dataclass
class Journey:
    """A project, the database that a rollout changes, and a new one that migrations make."""

    project: Project
    live: str
    new: str
    plan: Plan
    target: Target
    connection: Connection


# Writes the migration, finds that Django has no other to write, and migrates.
MIGRATE = (
    *("rollout", "makemigrations", "order-states", "--then"),
    *("makemigrations", "--check", "--dry-run", "--then", "migrate"),
)


def models_of(phase: int) -> tuple[str, ...]:
    """The command that prints the models of a phase."""
    return ("rollout", "models", "order-states", "--phase", str(phase))


@pytest.fixture
def journey(tmp_path: Path, own_plans: None) -> Iterator[Journey]:
    live, new = (
        embedded.with_database(os.environ["DATABASE_URL"], f"journey_{uuid4().hex}") for _ in "12"
    )
    source = examples_of_own_plan("python", "shop/rollout.py")
    project = make_project(tmp_path, models=example("shop/models.py"), plan=source)
    target = Target(conninfo_to_dict(live))
    for url in (live, new):
        embedded.create_database(url)
    project.manage(live, "makemigrations", "shop", "--then", "migrate")
    with target.connect() as connection:
        connection.execute(
            "INSERT INTO shop_order (state, paid)"
            " SELECT (ARRAY['Open', 'void', 'Sold'])[1 + n % 3], 'yes'"
            " FROM generate_series(1, 30) AS n"
        )
        yield Journey(project, live, new, run(source)["PLAN"], target, connection)
    for url in (live, new):
        embedded.drop_database(url)


def test_models_and_migrations_follow_each_phase_and_a_new_database_gets_the_same_schema(
    journey: Journey,
) -> None:
    project, live, new = journey.project, journey.live, journey.new
    schemas = {0: schema_lines(live)}
    printed = project.manage(live, *models_of(4), "--then", *models_of(1))
    *_, release_d, next_models = printed.split("# After")
    assert f"# After{release_d}".rstrip() == example("shop/models.py, release D").rstrip()
    for number in range(5):
        if number in RELEASES.values():
            project.write("shop/models.py", f"# After{next_models}")
            status, refusal = project.try_to_manage(live, *MIGRATE)
            assert (status, "Traceback" in refusal) == (1, False), refusal
            assert f"Phase {number} of order-states is not done in this database" in refusal
            assert "shop_order has rows. Start it first: manage.py rollout start" in refusal
        do_phase(journey.target, journey.connection, journey.plan, number)
        schemas[number] = schema_lines(live)
        if number in RELEASES.values():
            migrated = ("migrate", "--plan", "--then", "migrate", "--then")
            printed = project.manage(live, *migrated, *models_of(3 if number == 1 else 4))
            listed, next_models = printed.split("# After")
            assert f"Phase {number} of the rollout order-states" in listed
            assert schema_lines(live) == schemas[number], "the phase was done"
    migrations = sorted((project.directory / "shop/migrations").glob("0*.py"))
    first, *names = [path.stem for path in migrations]
    printed = project.manage(new, "sqlmigrate", "shop", names[0], "--then", "migrate")
    assert 'ALTER TABLE "public"."shop_order"\n' in printed
    assert schema_lines(new) == schemas[4]
    for name, number in ((names[1], 3), (names[0], 1), (first, 0)):
        project.manage(new, "migrate", "shop", name)
        assert schema_lines(new) == schemas[number], name
    status, refusal = project.try_to_manage(live, "migrate", "shop", names[1])
    assert (status, "Phase 4 of order-states is in this database" in refusal) == (1, True), refusal

    # From release A to D, in one migration, with a field that stays a text.
    for path in migrations[1:]:
        path.unlink()
    project.write("shop/models.py", example("shop/models.py"))
    release_d = project.manage(new, *models_of(4), "--lookup-fields")
    assert example("shop/models.py, release D, with a LookupField") in f"{release_d}\n"
    project.write(
        "shop/models.py", re.sub(r" +indexes = \[.*?\]\n", "", release_d, flags=re.DOTALL)
    )
    project.manage(new, *MIGRATE)
    assert schema_lines(new) == schemas[4]
    project.write("shop/models.py", release_d)
    printed = project.manage(new, *MIGRATE, "--then", *MIGRATE[:3])
    assert "Wrote " in printed, "an index that was forgotten in the model"
    assert "No changes detected: the project's migrations have this phase" in printed
    assert schema_lines(new) == schemas[4]
    project.write("shop/tests.py", TESTS)
    project.manage(new, "test", "--no-input")
    project.write("company/settings_sqlite.py", example("settings_sqlite.py"))
    with_rollout = example("settings_sqlite.py").partition("INSTALLED_APPS")[0]
    project.write("company/settings_other.py", with_rollout)
    status, refusal = project.try_to_manage(new, "test", settings="company.settings_other")
    assert (status, "Traceback" in refusal) == (1, False), refusal
    assert "the database 'default' is SQLite. Leave 'rollout' and 'django_q' out" in refusal
    project.write("shop/tests.py", TESTS_WITHOUT_ROLLOUT)
    project.manage(new, "test", "--no-input", settings="company.settings_sqlite")
