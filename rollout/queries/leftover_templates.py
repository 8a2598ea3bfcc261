"""Uses of legacy columns in one template: what its variables are is told by their names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.template.defaultfilters import register as django_filters

from rollout.queries.leftover_uses import Legacy

SUFFIXES = frozenset({".html", ".htm", ".txt", ".xml", ".jinja", ".jinja2", ".j2"})
# What a template always has, and never is a row.
_NO_ROWS = frozenset(
    {"request", "user", "perms", "forloop", "loop", "block", "messages", "message", "csrf_token"}
    | {"error", "errors", "settings", "site", "response", "view", "cl", "opts", "field", "widget"}
)
# Steps on the way from rows to one of them.
_ON_THE_WAY = frozenset({"first", "last", "all", "get", "instance", "object_list", "items"})
_MODEL_FORMS = re.compile(
    r"\b(ModelForm|modelform_factory|inlineformset_factory|modelformset_factory|CreateView"
    r"|UpdateView|FilterSet|ModelSerializer)\b"
)
_CLASS = re.compile(r"^\s*class\s+(\w+)", re.M)
_COMMENT = re.compile(r"\{#.*?#\}|\{%-?\s*(comment|verbatim)\b.*?%\}.*?\{%-?\s*end\1\s*-?%\}", re.S)
_TAG = re.compile(r"\{\{-?(.*?)-?\}\}|\{%-?\s*(.*?)-?%\}")
_TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
_CHAIN = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+(?:\(\))?)+")
_FOR = re.compile(r"for\s+(\w+)\s+in\s+([\w.]+)")
_WITH = re.compile(r"(\w+)=([\w.]+)|([\w.]+)\s+as\s+(\w+)")
_REGROUP = re.compile(r"regroup\s+([\w.]+).*\sby\s+([\w.]+)")
_FILTER = re.compile(r"([\w.]+)[^|]*\|\s*(\w+)\s*:\s*(?:\"([^\"]*)\"|'([^']*)')")
_CONTROL = re.compile(r"<(?:input|select|textarea)\b[^>]*?\sname=[\"']([\w-]+)[\"']", re.I)
_DISPLAY = re.compile(r"get_(\w+)_display")
# These compare and sort by what their argument names.
_BY_ATTRIBUTE = frozenset({"dictsort", "dictsortreversed"})


@dataclass(frozen=True)
class Project:
    """What a project's Python source says about the names in its templates."""

    classes: frozenset[str]
    """All classes, in lower case: a variable that is called as one is that."""
    of_forms: frozenset[str]
    """The models that forms, filters, views and serializers are made of."""

    @classmethod
    def of(cls, sources: Mapping[Path, str], models: frozenset[str]) -> "Project":
        classes = {name.lower() for text in sources.values() for name in _CLASS.findall(text)}
        of_forms = {
            model
            for text in sources.values()
            if _MODEL_FORMS.search(text)
            for model in models & set(re.findall(r"\w+", text))
        }
        return cls(frozenset(classes | {model.lower() for model in models}), frozenset(of_forms))


def lines_in(path: Path, text: str, legacy: Sequence[Legacy], project: Project) -> list[int]:
    """The lines of a template that name a legacy column of a row, of a form or of a filter."""
    text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    return sorted(
        {
            number
            for of in legacy
            if any(name in text for name in of.names)
            for number in _Template(path, text, of, project).lines()
        }
    )


class _Template:
    """One template, and one table that it may show."""

    def __init__(self, path: Path, text: str, of: Legacy, project: Project) -> None:
        self.of, self.project = of, project
        self.models = {model.lower() for model in of.models}
        self.text = text
        # Whether a variable whose name says nothing may be a row of the table.
        words = {word.lower().replace("_", "") for word in re.findall(r"\w+", text)}
        self.is_about_table = (
            any(place in path.parents for place in of.places)
            or bool({place.name for place in of.places} & set(path.parts[:-1]))
            or any(words & {model, f"{model}s"} for model in self.models)
        )
        self.aliases = dict(self._aliases())

    def lines(self) -> Iterator[int]:
        for number, line in enumerate(self.text.splitlines(), start=1):
            if any(self._is_use(*use) for use in _uses(line)) or (
                self.of.models & self.project.of_forms
                and self.is_about_table
                and self.of.names.intersection(_CONTROL.findall(_TAG.sub("", line)))
            ):
                yield number

    def _aliases(self) -> Iterator[tuple[str, str]]:
        for tag in _TAG.finditer(self.text):
            if code := tag[2]:
                yield from _FOR.findall(code)
                for name, value, other_value, other_name in _WITH.findall(code):
                    yield (name, value) if name else (other_name, other_value)

    def _is_use(self, owner: str, attribute: str) -> bool:
        if display := _DISPLAY.fullmatch(attribute):
            attribute = display[1]
        return attribute in self.of.names and self._may_be_row(owner, depth=0)

    def _may_be_row(self, owner: str, *, depth: int) -> bool:
        parts = [part.removesuffix("()") for part in owner.split(".")]
        while len(parts) > 1 and (parts[-1] in _ON_THE_WAY or parts[-1].isdigit()):
            parts.pop()
        name = parts[-1].lower().replace("_", "").removesuffix("set")
        for candidate in (name, name.removesuffix("s"), name.removesuffix("list")):
            if candidate in self.models:
                return True
            if candidate in self.project.classes:
                return False
        if "form" in name:
            return bool(self.of.models & self.project.of_forms)
        # A loop's variable is what it loops over.
        value = self.aliases.get(owner, "")
        if value and depth < 5 and value.split(".")[-1] not in _ON_THE_WAY:
            return self._may_be_row(value, depth=depth + 1)
        return self.is_about_table and parts[0] not in _NO_ROWS


def _uses(line: str) -> Iterator[tuple[str, str]]:
    """Each attribute that the tags on a line name, after what it is an attribute of."""
    for tag in _TAG.finditer(line):
        code = tag[1] or tag[2] or ""
        for owner, name, *texts in _FILTER.findall(code):
            if name in _BY_ATTRIBUTE or name not in django_filters.filters:
                yield owner, "".join(texts).rpartition(".")[2]
        if regroup := _REGROUP.search(code):
            yield regroup[1], regroup[2].rpartition(".")[2]
        for chain in _CHAIN.findall(_TEXT.sub("''", code)):
            parts = [part.removesuffix("()") for part in chain.split(".")]
            for place in range(1, len(parts)):
                yield ".".join(parts[:place]), parts[place]
