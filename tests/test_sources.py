"""Sources are short, their names say something, and tests mirror the tree of `rollout/`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.home import ROOT
from tests.support.processes import completed
from tests.tree import MAX_LINES, MAX_LINES_HERE, TESTED_BY, WHOLE_WAYS, WITHOUT_TESTS

CHECK = (sys.executable, ROOT / ".ci" / "check_sources.py")


@pytest.mark.slow
def test_every_source_is_short_and_its_names_say_what_they_hold() -> None:
    folders = (
        ROOT / name
        for name in (".ci", "bench", "config", "offers", "properties", "rollout", "tests")
    )
    done = completed([*CHECK, *folders])
    assert done.returncode == 0, done.stdout


def test_long_files_and_empty_names_are_named_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(
        "class Row:\n    found: int\n\n\ndef rows(said, *, of=None):\n    for one in said:\n"
        "        yield [each for each in one], (found := of)\n"
        "    of.told = 1\n\n\ndef _found(): pass\n"
        "def test_it_works(): pass\ndef test_a_row_works(): pass\n"
    )
    (tmp_path / "long.py").write_text("x = 1\n" * 401)
    done = completed([*CHECK, tmp_path])
    assert done.returncode == 1
    assert set(done.stdout.replace(f"{tmp_path}/", "").splitlines()) == {
        "long.py: 401 lines; split it by subject into files of at most 400.",
        "names.py:5: name 'said' for what it holds.",
        "names.py:6: name 'one' for what it holds.",
        "names.py:7: name 'each' for what it holds.",
        "names.py:7: name 'found' for what it holds.",
        "names.py:8: name 'told' for what it holds.",
        "names.py:11: name '_found' for what it holds.",
        "names.py:12: begin the test's name with its subject.",
    }


PACKAGE, TESTS = ROOT / "rollout", ROOT / "tests"


def modules() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE)
        if path.name != "__init__.py" and module.parts[0] not in {"migrations", *WITHOUT_TESTS}:
            yield module


def all_tests() -> Iterator[Path]:
    """The test files in the folders of the package."""
    for path in sorted(TESTS.rglob("test_*.py")):
        test = path.relative_to(TESTS)
        if (PACKAGE / test.parent).is_dir():
            yield test


def module_of(test: Path) -> str:
    """The module or package of its folder that a test file is named for, alone or with a topic."""
    folder, name = PACKAGE / test.parent, test.stem.removeprefix("test_")
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}
    names |= {folder.name} if folder != PACKAGE else set()
    return max((of for of in names if f"{name}_".startswith(f"{of}_")), key=len, default="")


def test_each_test_file_is_named_for_a_module_of_its_folder_or_is_a_whole_way() -> None:
    astray = [str(test) for test in all_tests() if not module_of(test)]
    assert [test for test in astray if test not in WHOLE_WAYS] == [], "name it for a module"
    assert [test for test in WHOLE_WAYS if test not in astray] == [], "it is none, or not there"


def test_each_long_module_has_a_test_file_of_its_name_or_a_line_that_says_which_one() -> None:
    with_tests = {test.parent / f"{module_of(test)}.py" for test in all_tests()}
    without = {
        str(module)
        for module in modules()
        if module not in with_tests and (PACKAGE / module).read_text().count("\n") > MAX_LINES
    }
    assert without - set(TESTED_BY) == set(), "write it one, or say in tests/tree.py what tests it"
    assert set(TESTED_BY) - without == set(), "take its line out of tests/tree.py"
    assert [test for test in TESTED_BY.values() if not (TESTS / test).exists()] == []
    assert len(TESTED_BY) <= MAX_LINES_HERE, "write test files instead"
