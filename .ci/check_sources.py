"""Sources that are too long, names that are empty, and tests whose name has no subject.

Prints each, and ends with 1 when there is one.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 400
EMPTY_NAMES = {"each", "found", "one", "said", "some", "told"}
# First words of a test's name that lean on what stands around it.
NO_SUBJECT = re.compile(
    r"test_(?:its?|they|them|their|that|this|these|those|is|are|was|were|can|has|and|or|in|on|of|so"
    r"|says|what|who|whose|whoever)_"
)


def problems(path: Path) -> Iterator[str]:
    text = path.read_text()
    if (lines := text.count("\n")) > MAX_LINES:
        yield f"{path}: {lines} lines; split it by subject into files of at most {MAX_LINES}."
    tree = ast.parse(text)
    # A field of a class is read with the name of its object before it.
    fields = {
        statement.target
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and NO_SUBJECT.match(node.name):
            yield f"{path}:{node.lineno}: begin the test's name with its subject."
        match node:
            case ast.Name(id=name, ctx=ast.Store()) if node not in fields:
                pass
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                pass
            case _:
                continue
        if name.lstrip("_") in EMPTY_NAMES:
            yield f"{path}:{node.lineno}: name {name!r} for what it holds."


def main(folders: list[str]) -> int:
    sources = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    lines = [line for path in sources if "migrations" not in path.parts for line in problems(path)]
    print("\n".join(lines) or f"{len(sources)} sources are short, and name what they hold.")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
