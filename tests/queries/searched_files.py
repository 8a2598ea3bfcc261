"""Files of a project that are searched for what needs the legacy schema."""

from pathlib import Path
from textwrap import dedent

from rollout.plan import plans
from rollout.queries.leftovers import leftovers_of
from tests.support.rollouts import PLAN


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
