"""The architecture holds: who may import whom."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.home import ROOT
from tests.support.processes import completed


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_run_one_way() -> None:
    done = completed([Path(sys.executable).with_name("lint-imports"), "--no-cache"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["plan", "engine"])
def test_the_plan_and_the_engine_know_no_orm(package: str) -> None:
    files = list((ROOT / "rollout" / package).rglob("*.py"))
    assert files
    imported = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in imported_names(path)
        if name.startswith("django.db")
    }
    assert imported == set()


def test_the_journal_is_reached_by_its_own_alias_and_never_by_the_default_one() -> None:
    """A database router may keep it elsewhere."""
    default = re.compile(
        r"transaction\.(atomic\(\)|on_commit\()|^from django\.db import .*\bconnection\b"
        r"|settings\.ROLLOUT\b",
        re.MULTILINE,
    )
    astray = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "rollout").rglob("*.py")
        if path != ROOT / "rollout/journal/__init__.py" and default.search(path.read_text())
    ]
    assert astray == []
