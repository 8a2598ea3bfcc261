"""Refuses lookups whose rows could not be created, or could not take every legacy value."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

# PostgreSQL's own types. Types of the database itself may be enums and domains of texts: the
# preflight looks.
_NO_TEXT = re.compile(
    r".*\[\]|(smallint|integer|bigint|numeric|real|double precision|money|boolean|date|time"
    r"|timestamp|interval|uuid|jsonb?|xml|bytea|bit|inet|cidr|macaddr8?|oid|name|\"char\"|character"
    r"|(?:int[48]|num|ts|tstz|date)(?:multi)?range|point|line|lseg|box|path|polygon|circle"
    r"|tsvector|tsquery)(\b(?! varying).*)?"
)
_LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
_OWN = frozenset({"id", "name", "active"})


def lookup_problems(plan: Plan) -> Iterator[Problem]:
    for lookup in plan.lookups:
        name = f"{lookup.table.label}.{lookup.column}"
        if lookup.blank is None and lookup.required and lookup.of_legacy.null:
            yield Problem(
                CheckId.NO_ROW_FOR_BLANKS,
                f"The lookup of {name} is required but has no value for blanks.",
                "Set blank='...' to the name of a row for blanks, or required=False.",
            )
        if _NO_TEXT.fullmatch(lookup.of_legacy.type):
            yield Problem(
                CheckId.LEGACY_TYPE,
                f"The legacy column {lookup.table.label}.{lookup.legacy} is "
                f"{lookup.of_legacy.type}; a lookup is made of text, character varying, citext, "
                "an enum or a domain of these.",
                "Convert it to text in a migration before the rollout, or derive the new column "
                "from it with Derived.",
            )
        elif lookup.blank is not None and len(lookup.blank) > lookup.longest:
            yield Problem(
                CheckId.ROW_FOR_BLANKS_TOO_LONG,
                f"'{lookup.blank}', the row for blanks of {name}, is too long for "
                f"{lookup.table.label}.{lookup.legacy}: at most {lookup.longest} characters.",
                "Set blank='...' to a shorter name.",
            )
        if lookup.unknown == "null" and lookup.required:
            yield Problem(
                CheckId.UNKNOWN_WITHOUT_VALUE,
                f"The lookup of {name} is required but leaves unknown values without a row.",
                "Set unknown='create', or required=False.",
            )
        yield from _synonyms(lookup, name)
        yield from _rows(lookup)


def _synonyms(lookup: Lookup, name: str) -> Iterator[Problem]:
    forms = Counter(_form(synonym) for synonym in lookup.synonyms)
    for synonym, meant in lookup.synonyms.items():
        problem = ""
        if not _form(synonym) or not _form(meant) or len(meant) > lookup.longest:
            problem = f"neither may be blank, nor a name over {lookup.longest} characters"
        elif forms[_form(synonym)] > 1:
            problem = "another synonym differs from it only in case or white space"
        elif _form(meant) in forms and _form(lookup.synonyms.get(meant, meant)) != _form(meant):
            problem = f"'{meant}' is itself a synonym, of '{lookup.synonyms[meant]}'"
        if problem:
            yield Problem(
                CheckId.WRONG_SYNONYM,
                f"The lookup of {name} cannot have '{synonym}' for '{meant}': {problem}.",
                "Map each synonym directly to a lookup name.",
            )


def _rows(lookup: Lookup) -> Iterator[Problem]:
    label = f"{lookup.table.label}.{lookup.column}"
    forms = Counter(_form(row.get("name")) for row in lookup.fixed_rows.values())
    for id_, row in lookup.fixed_rows.items():
        if problem := _wrong_with_row(lookup, id_, row, forms):
            yield Problem(
                CheckId.WRONG_LOOKUP_ROW,
                f"The lookup of {label} cannot have the row {id_!r}: {problem}.",
                "Write rows={1: 'Open', 2: {'name': 'Sold', 'colour': 'red'}}, with the types of "
                "further columns in columns={...}.",
            )
    for name, column in lookup.columns.items():
        if name in _OWN or not column.null:
            yield Problem(
                CheckId.WRONG_LOOKUP_COLUMN,
                f"The lookup table of {label} cannot have the further column '{name}': "
                + ("the name is reserved." if name in _OWN else "it is NOT NULL."),
                "Use another name and allow NULL: the row of a new value has none.",
            )


def _form(name: object) -> str:
    return " ".join(str(name or "").split()).lower()


def _wrong_with_row(lookup: Lookup, id_: int, row: Mapping[str, Any], forms: Counter[str]) -> str:
    name = row.get("name")
    if not isinstance(id_, int) or not 0 < id_ <= _LARGEST[lookup.key_type]:
        return f"an id must be an integer from 1 to {_LARGEST[lookup.key_type]}"
    if not isinstance(name, str) or not _form(name) or len(name) > lookup.longest:
        return f"its name must have 1 to {lookup.longest} characters"
    if forms[_form(name)] > 1:
        return "another row's name differs from its name only in case or white space"
    led_to = {_form(synonym): meant for synonym, meant in lookup.synonyms.items()}
    if _form(led_to.get(_form(name), name)) != _form(name):
        return f"its name is a synonym, of '{led_to[_form(name)]}'"
    unknown = set(row) - {"name"} - set(lookup.columns)
    return f"there is no column {', '.join(sorted(unknown))}" if unknown else ""
