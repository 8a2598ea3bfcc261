"""A system check has an id of its own."""

import ast
import re
from collections import Counter

from config.home import ROOT
from rollout.checks.ids import CheckId

TABLE = ROOT / "rollout" / "checks" / "ids.py"


def test_every_id_stands_in_the_table_once_and_is_given_by_one_check() -> None:
    uses: Counter[str] = Counter()
    literals = []
    for path in (ROOT / "rollout").rglob("*.py"):
        text = path.read_text()
        if path != TABLE and re.search(r"rollout\.[EW]\d{3}|rollout\.[EW]\{", text):
            literals.append(path.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                uses[node.attr] += node.value.id == "CheckId"
    assert literals == [], "take the id from the table"
    written = re.findall(r'"(rollout\.[EW]\d{3})"', TABLE.read_text())
    assert len(written) == len(set(written)) == len(CheckId)
    assert {check.name: uses[check.name] for check in CheckId} == dict.fromkeys(
        CheckId.__members__, 1
    )
