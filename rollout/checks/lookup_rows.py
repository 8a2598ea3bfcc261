"""Refuses rows and further columns of a lookup table that could not be made."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.core.checks import Error

from rollout.checks.ids import CheckId
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

MakeError = Callable[[CheckId, str, str, Plan], Error]

_LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
_OWN = frozenset({"id", "name", "active"})


def check_lookup_rows(plan: Plan, lookup: Lookup, error: MakeError) -> Iterator[Error]:
    """Errors, each with a hint."""
    label = f"{lookup.table.label}.{lookup.column}"
    forms = Counter(_form(row.get("name")) for row in lookup.fixed_rows.values())
    for id_, row in lookup.fixed_rows.items():
        if problem := _wrong_with(lookup, id_, row, forms):
            yield error(
                CheckId.WRONG_LOOKUP_ROW,
                f"The lookup of {label} cannot have the row {id_!r}: {problem}.",
                "Write rows={1: 'Open', 2: {'name': 'Sold', 'colour': 'red'}}, and give the types "
                "of further columns in columns={...}.",
                plan,
            )
    for name, column in lookup.columns.items():
        if name in _OWN or not column.null:
            yield error(
                CheckId.WRONG_LOOKUP_COLUMN,
                f"The lookup table of {label} cannot have the further column '{name}': "
                + ("it has one of that name." if name in _OWN else "it is NOT NULL."),
                "Name it otherwise, and let it be null: the row of a new text has no value for it.",
                plan,
            )


def _form(name: object) -> str:
    return " ".join(str(name or "").split()).lower()


def _wrong_with(lookup: Lookup, id_: int, row: Mapping[str, Any], forms: Counter[str]) -> str:
    name = row.get("name")
    if not isinstance(id_, int) or not 0 < id_ <= _LARGEST[lookup.key_type]:
        return f"an id is a whole number from 1 to {_LARGEST[lookup.key_type]}"
    if not isinstance(name, str) or not _form(name) or len(name) > lookup.longest:
        return f"its name is not a text of 1 to {lookup.longest} characters"
    if forms[_form(name)] > 1:
        return "another row's name differs from its name in case or white space alone"
    led_to = {_form(synonym): meant for synonym, meant in lookup.synonyms.items()}
    if _form(led_to.get(_form(name), name)) != _form(name):
        return f"its name is a synonym, of '{led_to[_form(name)]}'"
    unknown = set(row) - {"name"} - set(lookup.columns)
    return f"there is no column {', '.join(sorted(unknown))}" if unknown else ""
