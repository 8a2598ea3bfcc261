"""Code of a project that still needs the legacy schema is found by file and line."""

import json
from pathlib import Path

from config.home import ROOT
from rollout.plan import plans
from rollout.queries.leftovers import leftovers_of
from tests.queries.searched_files import lines_of, written
from tests.support.rollouts import PLAN, Cli


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


def test_the_example_is_searched_by_default_and_its_transitional_code_is_in_one_place() -> None:
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
