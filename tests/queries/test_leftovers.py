"""Code of a project that still needs the legacy schema is found by file and line."""

import json
from pathlib import Path
from textwrap import dedent

import pytest
from django.db import models
from django.test.utils import isolate_apps

from config.home import ROOT
from properties.models import Property, PropertyImage
from rollout.plan import plans
from rollout.queries import leftovers
from rollout.queries.leftovers import leftovers_of
from tests.support.rollouts import PLAN, Cli

QUERIES = """
    from django.contrib.auth.models import User
    from django.db.models import F, Q
    from properties.models import LegacyProperty

    def report(cursor, rows):
        '''SELECT type FROM properties is what it was.'''
        LegacyProperty.objects.filter(status="open")  # found
        LegacyProperty.objects.order_by("city").exclude(status__in=["open"])  # found
        rows.filter(Q(type="House") & ~Q(status=None))  # found
        LegacyProperty.objects.values("city", "type").order_by("-status")  # found
        rows.update(type=F("city"))  # found
        rows.get_or_create(city="x", defaults={"type": "House"})  # found
        LegacyProperty(type="House")  # found
        LegacyProperty.objects.filter(status="open")  # rollout: ignore
        User.objects.filter(status="open", property__type="House")  # found
        User.objects.filter(status="open").values("type")
        cursor.execute("SELECT id FROM properties WHERE status = 'open'")  # found
        cursor.execute(f"UPDATE properties SET type = {rows}")  # found
        cursor.execute("SELECT status FROM orders")
        return {"type": rows.count(), "status": "the status of all properties"}

    class Form:
        class Meta:
            model = LegacyProperty
            fields = ["city", "type"]  # found

    class UserForm:
        class Meta:
            model = User
            fields = ["status"]
"""


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def lines_of(path: Path) -> list[int]:
    return [line.line for line in leftovers_of(plans.get(PLAN), "default", [path]).lines]


def marked(path: Path) -> list[int]:
    lines = path.read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if "# found" in line]


def test_queries_and_sql_by_the_names_of_legacy_columns_are_found_and_no_others(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "reports.py", QUERIES)
    assert lines_of(path) == marked(path)
    kinds = {line.kind for line in leftovers_of(plans.get(PLAN), "default", [path]).lines}
    assert kinds == {"query", "sql"}


def test_queries_that_outlive_their_field_are_found_by_the_name_of_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "models_of", lambda label, alias: [Property, PropertyImage])
    text = QUERIES.replace("LegacyProperty", "Property")
    path = written(tmp_path, "reports.py", text)
    assert lines_of(path) == marked(path)


@isolate_apps("properties")
def test_a_field_of_the_new_column_that_has_the_old_name_is_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listing(models.Model):
        type = models.IntegerField(db_column="property_type_id")
        status = models.IntegerField(db_column="property_status_id")

        class Meta:
            app_label = "properties"

        def __str__(self) -> str:
            return "A listing"

    monkeypatch.setattr(leftovers, "models_of", lambda label, alias: [Listing])
    text = "Listing.objects.filter(status=1).values('type')\n# properties: Listing"
    assert lines_of(written(tmp_path, "views.py", text)) == []


def test_a_file_that_asks_for_this_plans_modes_is_found_once(tmp_path: Path) -> None:
    asks = "from rollout.modes import current_modes\nNAME = {!r}\nwith current_modes(NAME): pass\n"
    assert lines_of(written(tmp_path, "ours.py", asks.format(PLAN))) == [1]
    assert lines_of(written(tmp_path, "others.py", asks.format("order-states"))) == []
    given = "from rollout import modes\ndef f(plan):\n    modes.current_modes(plan)\n"
    assert lines_of(written(tmp_path, "unknown.py", given)) == [3]


def test_sql_files_are_found_and_migrations_environments_and_the_plan_are_left_out(
    tmp_path: Path,
) -> None:
    report = written(
        tmp_path, "sql/report.sql", "SELECT city\nFROM properties;\nSELECT type\nFROM properties;\n"
    )
    sql = "execute('SELECT type FROM properties')"
    for name in ("migrations/0001.py", ".cache/x.py", "rollout.py", "env/lib/x.py", "readme.txt"):
        written(tmp_path, name, sql)
    written(tmp_path, "env/pyvenv.cfg", "")
    written(tmp_path, "broken.py", f"{sql} (")
    left = leftovers_of(plans.get(PLAN), "default", [tmp_path])
    assert [(line.path, line.line) for line in left.lines] == [(report, 4)]
    assert (left.read, left.roots) == (2, (tmp_path,))


def test_the_sample_is_searched_by_default_and_its_transitional_code_is_in_one_place() -> None:
    left = leftovers_of(plans.get(PLAN), "default")
    assert left.roots == (ROOT / "config", ROOT / "properties", ROOT / "templates")
    place = ROOT / "properties" / "transition"
    assert list(left.files) == [place / "models.py", place / "shapes.py"]
    assert left.place == place
    assert {line.kind for line in left.lines} == {"field", "query", "modes"}
    lines = sum(len(path.read_text().splitlines()) for path in place.glob("*.py"))
    assert lines <= 250


def test_the_one_place_of_all_leftovers_is_named(cli: Cli, tmp_path: Path) -> None:
    for name in ("a/b.sql", "a/c/d.sql"):
        written(tmp_path, name, "SELECT type FROM properties;")
    place = f"2 files to clean up, all in {tmp_path}/a; 2 files read in {tmp_path}."
    assert place in cli("leftovers", PLAN, str(tmp_path))[1]
    written(tmp_path, "e.sql", "SELECT type FROM properties;")
    assert "3 files to clean up; 3 files read in" in cli("leftovers", PLAN, str(tmp_path))[1]


def test_the_verb_ends_with_one_while_something_is_left(cli: Cli, tmp_path: Path) -> None:
    path = written(tmp_path, "reports.py", "run('SELECT type FROM properties')\n")
    code, out, _ = cli("leftovers", PLAN, str(tmp_path))
    assert code == 1
    assert f"{path}:1: sql: run('SELECT type FROM properties')" in out
    assert f"1 file to clean up; 1 file read in {tmp_path}." in out
    code, out, _ = cli("leftovers", PLAN, str(tmp_path), "--json")
    assert code == 1
    assert json.loads(out)["leftovers"] == [
        {"path": str(path), "line": 1, "kind": "sql", "text": path.read_text().strip()}
    ]
    path.write_text("")
    code, out, _ = cli("leftovers", PLAN, str(tmp_path))
    assert (code, out) == (0, f"Nothing is left; 1 file read in {tmp_path}.\n")
    path.unlink()
    assert cli("leftovers", PLAN, str(path))[0] == 2
    code, _, err = cli("leftovers", PLAN, str(tmp_path))
    assert (code, err) == (
        2,
        f"No source found in {tmp_path}. Name the application's directory.\n",
    )
