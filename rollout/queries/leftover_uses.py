"""Uses of legacy columns in one Python file, by its syntax tree."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# A line with this comment is right as it is.
IGNORED = "# rollout: ignore"

# Methods and classes whose keyword arguments are lookups or fields.
BY_KEYWORD = frozenset(
    {"filter", "exclude", "get", "create", "update", "get_or_create", "update_or_create", "Q"}
    | {"aget", "acreate", "aupdate", "aget_or_create", "aupdate_or_create", "When"}
)
# Methods and classes whose texts name fields.
BY_TEXT = frozenset(
    {"values", "values_list", "order_by", "only", "defer", "distinct", "F", "OuterRef", "Index"}
    | {"UniqueConstraint", "Count", "Max", "Min", "Sum", "Avg", "Lower", "Upper", "Coalesce"}
    | {"bulk_update", "bulk_create", "save", "earliest", "latest", "in_bulk", "select_for_update"}
)
# Attributes of forms, admins, filters and serializers whose texts name fields.
ATTRIBUTES = frozenset(
    {"list_display", "list_filter", "list_editable", "search_fields", "ordering", "fields"}
    | {"exclude", "readonly_fields", "fieldsets", "radio_fields", "filterset_fields"}
    | {"unique_together", "index_together", "indexes", "constraints", "widgets", "labels"}
)
_SQL = frozenset({"select", "insert", "update", "delete", "from", "where", "join", "set", "into"})
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Legacy:
    """A table of the plan with columns that phase 4 drops."""

    table: str
    columns: frozenset[str]
    models: frozenset[str]
    """The names of its models."""
    names: frozenset[str]
    """What queries call the columns."""
    fields: frozenset[str]
    """Fields that its models still have."""
    places: tuple[Path, ...]
    """The directories of its models' apps."""

    def concerns(self, file: Path, text: str) -> bool:
        """Whether a file's queries may be about the table."""
        words = set(_WORD.findall(text))
        return bool(words & (self.models | {self.table})) or any(
            place in file.parents for place in self.places
        )


@dataclass(frozen=True, order=True)
class Use:
    line: int
    kind: Literal["modes", "field", "query", "sql", "template"]


def sql_names(text: str, legacy: Sequence[Legacy]) -> bool:
    """Whether a text is SQL that names a table with one of its columns."""
    words = set(_WORD.findall(text))
    return bool({word.lower() for word in words} & _SQL) and any(
        _has(text, words, of.table) and any(_has(text, words, column) for column in of.columns)
        for of in legacy
    )


def _has(text: str, words: set[str], name: str) -> bool:
    return name in words if name.isidentifier() else name in text


def uses_in(
    tree: ast.Module,
    plan: str,
    legacy: Sequence[Legacy],
    relevant: Sequence[Legacy],
    known: set[str],
) -> list[Use]:
    """The uses in a file; ``known`` are the names of all models of the project."""
    if (modes := _asks_for_modes(tree, plan)) is not None:
        return [modes, *_Reader(legacy, relevant, known).read(tree)]
    return _Reader(legacy, relevant, known).read(tree)


def _asks_for_modes(tree: ast.Module, plan: str) -> Use | None:
    """Where a file asks for the modes, unless it does so for other plans alone."""
    texts = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    named = [node for node in ast.walk(tree) if _name_of(node) == "current_modes"]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.func in named and n.args]
    plans = [
        texts.get(call.args[0].id)
        if isinstance(call.args[0], ast.Name)
        else getattr(call.args[0], "value", None)
        for call in calls
    ]
    imports = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(a.name == "current_modes" for a in node.names)
    ]
    if plans and all(isinstance(name, str) and name != plan for name in plans):
        return None
    lines = [call.lineno for call in calls] + [node.lineno for node in imports]
    return Use(min(lines), "modes") if lines else None


def _name_of(node: ast.AST | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


@dataclass
class _Reader(ast.NodeVisitor):
    legacy: Sequence[Legacy]
    relevant: Sequence[Legacy]
    known: set[str]
    uses: list[Use] = field(default_factory=list)
    # Of the classes around: whether they are of another model.
    foreign: list[bool] = field(default_factory=lambda: [False])

    def read(self, tree: ast.Module) -> list[Use]:
        self.names = frozenset(name for of in self.relevant for name in of.names)
        self.models = frozenset(name for of in self.relevant for name in of.models)
        self.visit(tree)
        return self.uses

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for of in self.relevant:
            if node.name in of.models:
                self.uses += [
                    Use(statement.lineno, "field")
                    for statement in node.body
                    for target in _targets(statement)
                    if target in of.fields
                ]
        of_model = {name for name in _models_of(node) if name in self.known}
        self.foreign.append(
            not of_model & self.models if of_model or node.name in self.known else self.foreign[-1]
        )
        if node.name in self.models:
            self.foreign[-1] = False
        self.generic_visit(node)
        self.foreign.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        if not self.foreign[-1] and ATTRIBUTES.intersection(_targets(node)):
            self._texts(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name, owner = _name_of(node.func), _owner(node.func)
        other = owner in self.known and owner not in self.models
        if name in BY_KEYWORD or name in self.models:
            for keyword in node.keywords:
                parts = (keyword.arg or "").split("__")
                # Of another model, only a relation leads to the table.
                if self.names.intersection(parts[1:] if other else parts):
                    self.uses.append(Use(keyword.value.lineno, "query"))
                if keyword.arg in ("defaults", "create_defaults") and not other:
                    self._texts(keyword.value, keys=True)
        if name in BY_TEXT:
            for value in (*node.args, *(k.value for k in node.keywords)):
                self._texts(value, relation=other)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        # A docstring is no statement of SQL.
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and sql_names(node.value, self.legacy):
            self.uses.append(Use(node.lineno, "sql"))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        text = " ".join(
            v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else "?"
            for v in node.values
        )
        if sql_names(text, self.legacy):
            self.uses.append(Use(node.lineno, "sql"))
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.visit(value)

    def _texts(self, node: ast.AST, *, relation: bool = False, keys: bool = False) -> None:
        """Note the texts in an expression that name a field."""
        roots: Iterator[Any] = ast.walk(node)
        if keys:
            roots = iter(node.keys if isinstance(node, ast.Dict) else ())
        for part in roots:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                names = part.value.lstrip("-").split("__")
                if self.names.intersection(names[1:] if relation else names):
                    self.uses.append(Use(part.lineno, "query"))


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _models_of(node: ast.ClassDef) -> Iterator[str]:
    """The models that a form, a filter, a view or an admin class names as its own."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            yield from (_name_of(argument) for argument in decorator.args)
    for statement in node.body:
        if isinstance(statement, ast.ClassDef) and statement.name == "Meta":
            yield from _models_of(statement)
        elif "model" in _targets(statement):
            yield _name_of(getattr(statement, "value", None))


def _owner(node: ast.AST) -> str:
    """The name that a chain of calls begins with: ``Order`` of ``Order.objects.filter``."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return _name_of(node)
