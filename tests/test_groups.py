"""What is made once for a group of tests, a running demo or a browser, is made once."""

import ast
import os
import re
from collections import defaultdict
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from config.home import ROOT
from tests.support.lanes import SECONDS, lanes


@pytest.mark.xdist_group("of its own")
def test_the_tests_of_a_group_run_in_one_worker(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one worker")
    assert request.node.nodeid.endswith("@of its own")


def test_lanes_share_the_groups_and_each_is_about_as_long() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert set(re.findall(r'mark\.xdist_group\("(.+?)"\)', text)) == set(SECONDS)
    assert set(lanes(1).values()) == {"lane 1"}
    lane_of = lanes(2)
    assert lane_of.keys() == SECONDS.keys()
    first, second = (
        sum(SECONDS[group] for group, lane in lane_of.items() if lane == name)
        for name in ("lane 1", "lane 2")
    )
    assert abs(first - second) <= max(SECONDS.values()) / 4
    assert len(set(lanes(4 * len(SECONDS)).values())) == len(SECONDS)


def test_the_site_is_compiled_once_for_all_processes_of_a_run() -> None:
    modules = (ROOT / "rollout").rglob("*.py")
    assert [path.name for path in modules if not Path(cache_from_source(path)).exists()] == []


def fixtures_of(path: Path) -> dict[tuple[str, str], int]:
    """The line of each fixture of a module, by its name and body."""
    return {
        (node.name, "\n".join(ast.unparse(line) for line in node.body if not _is_text(line))): (
            node.lineno
        )
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(mark).startswith("pytest.fixture") for mark in node.decorator_list)
    }


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def test_a_fixture_of_several_modules_lies_in_the_conftest_that_they_share() -> None:
    places = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for fixture, line in fixtures_of(path).items():
            places[fixture].append(f"{path.relative_to(ROOT)}:{line} {fixture[0]}")
    assert [same for same in places.values() if len(same) > 1] == []
