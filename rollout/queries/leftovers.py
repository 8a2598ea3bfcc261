"""What the project's source still needs of the legacy schema, by file and line.

It is read as text and syntax trees; nothing of it is imported or executed. Attributes in Python
cannot be told from others of the same name: the project's own tests find those.
"""

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from django.apps import apps
from django.conf import settings
from django.db import models

import rollout
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.sql_files import SqlFile
from rollout.queries.leftover_templates import SUFFIXES, Project, lines_in
from rollout.queries.leftover_uses import IGNORED, Legacy, Use, sql_names, uses_in
from rollout.queries.project_models import models_of

# Directories whose files are not the application's code of today.
SKIPPED = frozenset({"migrations", "__pycache__", "node_modules", "site-packages"})
# Where Django and Jinja look for templates.
_TEMPLATES = frozenset({"templates", "jinja2"})
Paths = Sequence[str | Path]
Kind = Literal["modes", "field", "query", "sql", "template"]
LABELS: dict[Kind, str] = {
    "modes": "Asks for the modes",
    "field": "Model field",
    "query": "Query",
    "sql": "SQL",
    "template": "Template",
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

    @property
    def place(self) -> Path | None:
        """The file or the directory that has them all; None where they are scattered."""
        if not self.files:
            return None
        place = Path(os.path.commonpath(self.files))
        return None if any(place in (root, *root.parents) for root in self.roots) else place


def leftovers_of(plan: Plan, alias: str, paths: Sequence[Path] = ()) -> Leftovers:
    """Search the project's apps, settings and templates, or the given directories and files."""
    roots = tuple(path.resolve() for path in paths) or project_roots()
    legacy = [_legacy(plan, table.label, table.name, alias) for table in plan.tables]
    legacy = [of_table for of_table in legacy if of_table.columns]
    known = {model.__name__ for model in apps.get_models()}
    own = {s.path.resolve() for p in plan.phases for s in p.steps if isinstance(s, SqlFile)}
    sources = {
        file: file.read_text(encoding="utf-8", errors="replace")
        for root in roots
        for file in _files(root)
        if file not in own
    }
    python = {file: text for file, text in sources.items() if file.suffix == ".py"}
    project = Project.of(python, frozenset(known | {m for of in legacy for m in of.models}))
    lines: list[Leftover] = []
    for file, text in sources.items():
        if file.suffix in SUFFIXES:
            uses = [Use(line, "template") for line in lines_in(file, text, legacy, project)]
        else:
            uses = list(_uses_in_code(file, text, plan.name, legacy, known))
        source = text.splitlines()
        for use in sorted(set(uses)):
            line = source[use.line - 1].strip() if use.line <= len(source) else ""
            if IGNORED not in line:
                lines.append(Leftover(file, use.line, use.kind, line))
    return Leftovers(roots, len(sources), tuple(lines))


def project_roots() -> tuple[Path, ...]:
    """The directories of apps that are the project's own, of its settings and of its templates."""
    roots = {Path(app.path).resolve() for app in apps.get_app_configs()}
    roots |= _template_directories()
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
            path = Path(directory, name)
            # The plan itself names what it changes.
            if path.suffix in (".py", ".sql") and name != "rollout.py":
                yield path
            if path.suffix in SUFFIXES and _is_template(path, root):
                yield path


def _is_template(path: Path, root: Path) -> bool:
    """Whether a file is where templates are, and none of Rollout's own."""
    parts = (root.name, *path.relative_to(root).parts[:-1])
    start = next((place for place, part in enumerate(parts) if part in _TEMPLATES), None)
    if start is None and root in _template_directories():
        start = 0
    return start is not None and parts[start + 1 : start + 2] != ("rollout",)


def _template_directories() -> set[Path]:
    directories = [
        path for engine in settings.TEMPLATES for path in cast(Paths, engine.get("DIRS", ()))
    ]
    return {Path(path).resolve() for path in directories}


def _uses_in_code(
    file: Path, text: str, plan: str, legacy: Sequence[Legacy], known: set[str]
) -> Iterator[Use]:
    if not any(word in text for of in legacy for word in of.columns | of.names) and (
        "current_modes" not in text
    ):
        return
    if file.suffix == ".sql":
        for number, line in enumerate(_statements(text), start=1):
            if sql_names(line, legacy):
                yield Use(number, "sql")
    else:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            # Python cannot run it either.
            return
        relevant = [of for of in legacy if of.concerns(file, text)]
        yield from uses_in(tree, plan, legacy, relevant, known)


def _statements(text: str) -> Iterator[str]:
    """For each line the whole statement that ends on it; empty where none ends."""
    statement = ""
    for line in text.splitlines():
        statement += f"{line}\n"
        ends = line.rstrip().endswith(";")
        yield statement if ends else ""
        statement = "" if ends else statement
