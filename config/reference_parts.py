"""Makes the parts of docs/ that describe the code: verbs, the plan's language, keys and names."""

import argparse
import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from rollout import plan as language
from rollout.checks.ids import CheckId
from rollout.conf import SETTINGS
from rollout.engine.audit import categories
from rollout.engine.preflight.probes import PROBES
from rollout.health.families import FAMILIES
from rollout.journal import labels
from rollout.journal.events import Event, Kind
from rollout.management.commands.rollout import Command
from rollout.notifications.kinds import KINDS
from rollout.plan import gates
from rollout.plan.checklist import Item
from rollout.plan.guardrails import ALWAYS, STANDARD, Guardrail
from rollout.worker.failures import ENTRIES

Row = Sequence[str]
# Options of nearly every verb: the page describes them once.
_OF_ALL_VERBS = ("help", "log", "env", "as_json")


def table(head: Row, rows: Iterable[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines])


def text_of(docstring: str | None) -> str:
    """A docstring as one paragraph of Markdown."""
    return " ".join(inspect.cleandoc(docstring or "").replace("``", "`").split())


def summary_of(kind: type) -> str:
    return text_of((kind.__doc__ or "").strip().split("\n\n")[0])


# Verbs.


def verbs() -> str:
    parser = Command().create_parser("manage.py", "rollout")
    choices = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    return "\n\n".join(_verb(name, verb) for name, verb in choices.items())


def _verb(name: str, verb: argparse.ArgumentParser) -> str:
    every = sorted(verb._actions, key=lambda action: bool(action.option_strings))
    actions = [action for action in every if action.dest not in (*_OF_ALL_VERBS, "plan")]
    synopsis = [_in_synopsis(action) for action in every if action.dest not in ("help", "log")]
    options = {option for action in verb._actions for option in action.option_strings}
    with_json = " `--json` prints the answer as JSON." if "--json" in options else ""
    parts = [
        f"### {name}",
        f"{verb.description}{with_json}",
        f"`{' '.join([name, *synopsis])}`",
        f"```sh\n{(verb.epilog or '').removeprefix('Example: ')}\n```",
    ]
    if actions:
        rows = [(f"`{_usage(action)}`", _help(action)) for action in actions]
        parts.append(table(("argument", "what it is"), rows))
    if no := verb.get_default("no"):
        parts.append(f"The exit status is 1 when {no}.")
    return "\n\n".join(parts)


def _in_synopsis(action: argparse.Action) -> str:
    is_needed = action.required and action.nargs not in ("?", "*")
    if action.nargs == "*":
        return f"[{_usage(action)} ...]"
    return _usage(action) if is_needed else f"[{_usage(action)}]"


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"{action.option_strings[-1]}{value}"


def _help(action: argparse.Action) -> str:
    text = str(action.help or "").replace("%(default)s", str(action.default))
    return f"{text} (required)" if action.required and action.option_strings else text


# The plan's language.


def fields(kind: type) -> str:
    """The parameters of a class of the plan's language, with type, default and meaning."""
    rows = [
        (f"`{name}`", f"`{_type(type_)}`", f"`{default}`" if default else "", meaning)
        for name, type_, default, meaning in _fields(kind)
    ]
    return table(("parameter", "type", "default", ""), rows)


def step(kind: type) -> str:
    """What must be known about a kind of step besides what its page says."""
    phases = sorted(kind.phases)  # type: ignore[attr-defined]
    where = "any phase" if len(phases) == 5 else f"phase {' or '.join(map(str, phases))}"
    level = next((x for x in ("destructive", "restrictive") if getattr(kind, x) is True), "")
    facts = f"Allowed in {where}." + (f" **{level.capitalize()}.**" if level else "")
    rows = [row for row in _fields(kind) if row[0] not in ("id", "description")]
    own = fields(kind) if rows else ""
    return f"{facts}\n\n{own}".strip()


def _fields(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, annotation, default and docstring of each parameter of a dataclass."""
    known = {f.name for f in dataclasses.fields(kind) if f.init}
    seen: dict[str, tuple[str, str, str, str]] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
                annotation = ast.unparse(node.annotation)
                seen[name] = (name, annotation, _default(node.value), _meaning(after))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                # A subclass may set the default of its base.
                name = node.targets[0].id
                if name in seen:
                    before = seen[name]
                    seen[name] = (name, before[1], _default(node.value), before[3])
    for name, row in seen.items():
        if name in known and not (issubclass(kind, language.Step) and name in _OF_STEPS):
            assert row[3], f"{kind.__name__}.{name} has no docstring."
            yield row


_OF_STEPS = ("id", "description")


def _default(value: ast.expr | None) -> str:
    text = "" if value is None else ast.unparse(value)
    match = re.search(r"default_factory=(\w+)", text)
    if text.startswith("field(") and not match:
        return ""
    return {"dict": "{}"}.get(match[1], match[1]) if match else text


def _meaning(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return text_of(str(node.value.value))
    return ""


def _type(annotation: str) -> str:
    return annotation.replace(" | ", " or ").replace("'", "")


def _kinds(base: type, module: object) -> list[type]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    ]


def gate_table() -> str:
    return table(
        ("gate", "label", "passes when", "overridden?", "other environments"),
        (
            (
                f"`{_call(kind)}`",
                labels.gate_label(kind.name),
                text_of(kind.__doc__),
                "yes" if kind.overridable else "never",
                "not asked" if kind.of_protected else "asked",
            )
            for kind in _kinds(gates.Gate, gates)
            if issubclass(kind, gates.Gate)
        ),
    )


def gate_parameters() -> str:
    rows = [
        (
            f"`{kind.__name__}`",
            f"`{name}`",
            f"`{_type(type_)}`",
            f"`{default}`" if default else "",
            meaning,
        )
        for kind in _kinds(gates.Gate, gates)
        for name, type_, default, meaning in _fields(kind)
    ]
    return table(("gate", "parameter", "type", "default", ""), rows)


def checklist_items() -> str:
    items = [Item, *(k for k in map(partial(getattr, language), language.__all__) if _is_item(k))]
    return table(("item", "done when"), ((f"`{k.__name__}`", text_of(k.__doc__)) for k in items))


def _is_item(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Item) and kind is not Item


def _call(kind: type) -> str:
    names = ", ".join(name for name, *_ in _fields(kind))
    return f"{kind.__name__}({names})" if names else kind.__name__


def guardrails() -> str:
    return table(
        ("guardrail", "breached when", "action"),
        (
            (f"`{rule.id}`", rule.sentence, rule.action + _ends(rule))
            for rule in (*STANDARD, *ALWAYS)
        ),
    )


def _ends(rule: Guardrail) -> str:
    return "; ends automatically" if rule.resumes else ""


# Keys and names.


def settings() -> str:
    return table(
        ("key", "default", ""),
        ((f"`{key}`", _code(item.default), item.help) for key, item in SETTINGS.items()),
    )


def _code(default: str) -> str:
    return default if " " in default and "{" not in default else f"`{default}`"


def metrics() -> str:
    return table(
        ("name", "kind", "labels", ""),
        (
            (f"`{f.name}`", f.kind, ", ".join(f"`{label}`" for label in f.labels), f.help)
            for f in FAMILIES.values()
        ),
    )


def kinds_of_news() -> str:
    return table(("kind", "when"), ((f"`{kind}`", text) for kind, text in KINDS.items()))


def events() -> str:
    return table(
        ("event", "on pages", "kind"),
        ((f"`{e.value}`", e.headline, f"`{e.kind}`") for e in Event if e.kind != Kind.TEST),
    )


def checks() -> str:
    return table(("id", "meaning"), ((f"`{c.value}`", c.meaning) for c in sorted(CheckId)))


def preflight_checks() -> str:
    return table(
        ("check", "name in JSON", "phases"),
        (
            (
                labels.check_label(probe.name),
                f"`{probe.name}`",
                "all" if len(probe.phases) == 5 else ", ".join(map(str, sorted(probe.phases))),
            )
            for probe in PROBES
        ),
    )


def audit_categories() -> str:
    return table(
        ("category", "on pages", "meaning", "mismatch?"),
        (
            (f"`{key}`", label, meaning, "no" if key in categories.MATCHED else "yes")
            for key, (label, meaning) in labels.CATEGORIES.items()
        ),
    )


def errors() -> str:
    """What stops a phase, the narrowest first: an error has the entry of the first that fits."""
    rows = (
        (f"`{kind.__name__}`", _what_stopped(kind), f"[{entry.heading}](runbook.md#{entry})")
        for kind, entry in ENTRIES
    )
    return table(("error", "meaning", "runbook"), rows)


def _what_stopped(kind: type[Exception]) -> str:
    state = getattr(kind, "sqlstate", None)
    if kind.__module__.startswith("psycopg"):
        return f"SQLSTATE {state}" if state else "any SQLSTATE of class 23"
    return summary_of(kind)


PARTS: dict[str, Callable[[], str]] = {
    "verbs": verbs,
    "gates": gate_table,
    "parameters of gates": gate_parameters,
    "checklist items": checklist_items,
    "guardrails": guardrails,
    "settings": settings,
    "metrics": metrics,
    "kinds of notifications": kinds_of_news,
    "events": events,
    "checks": checks,
    "preflight checks": preflight_checks,
    "categories": audit_categories,
    "errors": errors,
    **{
        f"parameters of {name}": partial(fields, kind)
        for name in (
            "Plan",
            "Phase",
            "Table",
            "Column",
            "Lookup",
            "Convert",
            "Extract",
            "WidenKey",
            "ToEnum",
            "ToCheck",
            "Derived",
            "Computed",
            "Guardrail",
            "Item",
        )
        if (kind := getattr(language, name))
    },
    **{
        f"step {kind.__name__}": partial(step, kind)
        for kind in map(partial(getattr, language), language.__all__)
        if isinstance(kind, type)
        and issubclass(kind, language.Step)
        # Those of SQL files are described by their page.
        and kind not in (language.Step, language.SqlFile)
    },
}
