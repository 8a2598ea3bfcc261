"""What the project's source still needs of the legacy schema, by file and line.

It is read as text and syntax trees; nothing of it is imported or executed. Attributes and templates
cannot be told from others of the same name: the project's own tests find those.
"""

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from django.apps import apps
from django.conf import settings
from django.db import models

import rollout
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.sql_files import SqlFile
from rollout.queries.leftover_uses import IGNORED, Legacy, Use, sql_names, uses_in
from rollout.queries.project_models import models_of

# Directories whose files are not the application's code of today.
SKIPPED = frozenset({"migrations", "__pycache__", "node_modules", "site-packages"})
Kind = Literal["modes", "field", "query", "sql"]
LABELS: dict[Kind, str] = {
    "modes": "Asks for the modes",
    "field": "Model field",
    "query": "Query",
    "sql": "SQL",
}


@dataclass(frozen=True)
class Leftover:
    """A line of the source that a release after phase 4 must not have."""

    path: Path
    line: int
    kind: Kind
    text: str

    @property
    def label(self) -> str:
        return LABELS[self.kind]


@dataclass(frozen=True)
class Leftovers:
    """The lines of a project, by file; ``read`` is how many files there were."""

    roots: tuple[Path, ...]
    read: int
    lines: tuple[Leftover, ...]

    @cached_property
    def files(self) -> dict[Path, list[Leftover]]:
        by_file: dict[Path, list[Leftover]] = {}
        for leftover in self.lines:
            by_file.setdefault(leftover.path, []).append(leftover)
        return by_file


def leftovers_of(plan: Plan, alias: str, paths: Sequence[Path] = ()) -> Leftovers:
    """Search the project's apps and its settings' package, or the given directories and files."""
    roots = tuple(path.resolve() for path in paths) or project_roots()
    legacy = [_legacy(plan, table.label, table.name, alias) for table in plan.tables]
    legacy = [of_table for of_table in legacy if of_table.columns]
    known = {model.__name__ for model in apps.get_models()}
    own = {s.path.resolve() for p in plan.phases for s in p.steps if isinstance(s, SqlFile)}
    files = [file for root in roots for file in _files(root) if file not in own]
    lines = [line for file in files for line in _lines_of(file, plan.name, legacy, known)]
    return Leftovers(roots, len(files), tuple(lines))


def project_roots() -> tuple[Path, ...]:
    """The directories of apps that are the project's own, and of its settings."""
    roots = {Path(app.path).resolve() for app in apps.get_app_configs()}
    module = sys.modules.get(settings.SETTINGS_MODULE or "")
    if module is not None and module.__package__ and module.__file__:
        roots.add(Path(module.__file__).resolve().parent)
    own = Path(rollout.__file__).resolve().parent
    return tuple(
        sorted(
            root
            for root in roots
            if root.is_dir()
            and not {"site-packages", "dist-packages"} & set(root.parts)
            and root != own
            and not any(other in root.parents for other in roots)
        )
    )


def _legacy(plan: Plan, label: str, name: str, alias: str) -> Legacy:
    gone = frozenset(plan.shape(CONTRACT)[label].keys() - plan.shape(CONTRACT + 1)[label].keys())
    of_table = models_of(label, alias)
    fields = [field for model in of_table for field in model._meta.concrete_fields]
    names = {name for field in fields if field.column in gone for name in _names(field)}
    if not names:
        # A field of the new column may have the name that the legacy column had.
        names = set(gone) - {field.name for field in fields}
    return Legacy(
        table=name,
        columns=gone,
        models=frozenset(
            base.__name__
            for model in of_table
            for base in model.__mro__
            if issubclass(base, models.Model) and base is not models.Model
        ),
        names=frozenset(names),
        fields=frozenset(f.name for f in fields if f.column in gone),
        places=tuple(
            Path(apps.get_app_config(model._meta.app_label).path).resolve() for model in of_table
        ),
    )


def _names(field: "models.Field[object, object]") -> tuple[str, str]:
    return field.name, field.attname


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for directory, names, files in os.walk(root):
        names[:] = sorted(
            name
            for name in names
            if name not in SKIPPED
            and not name.startswith(".")
            and not (Path(directory, name) / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            # The plan itself names what it changes.
            if name.endswith((".py", ".sql")) and name != "rollout.py":
                yield Path(directory, name)


def _lines_of(
    file: Path, plan: str, legacy: Sequence[Legacy], known: set[str]
) -> Iterator[Leftover]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if not any(word in text for of in legacy for word in of.columns | of.names) and (
        "current_modes" not in text
    ):
        return
    source = text.splitlines()
    uses: list[Use] = []
    if file.suffix == ".sql":
        for number, line in enumerate(_statements(text), start=1):
            if sql_names(line, legacy):
                uses.append(Use(number, "sql"))
    else:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            # Python cannot run it either.
            return
        relevant = [of for of in legacy if of.concerns(file, text)]
        uses = uses_in(tree, plan, legacy, relevant, known)
    for use in sorted(set(uses)):
        line = source[use.line - 1].strip() if use.line <= len(source) else ""
        if IGNORED not in line:
            yield Leftover(file, use.line, use.kind, line)


def _statements(text: str) -> Iterator[str]:
    """For each line the whole statement that ends on it; empty where none ends."""
    statement = ""
    for line in text.splitlines():
        statement += f"{line}\n"
        ends = line.rstrip().endswith(";")
        yield statement if ends else ""
        statement = "" if ends else statement
