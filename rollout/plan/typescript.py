"""TypeScript interfaces of a rollout's tables, as the application's clients see their rows.

What JavaScript's numbers cannot hold exactly is a string: numeric and bigint, as drivers give them.
Tables and columns are in the order of their names: a rollback adds a column again at the end.
"""

import re
from collections.abc import Mapping, Sequence

from rollout.plan.table import Column, Shape

_TYPES = {
    "uuid": "string",
    "text": "string",
    "citext": "string",
    "name": "string",
    "bigint": "string",
    "numeric": "string",
    "money": "string",
    "bytea": "string",
    "date": "string",
    "interval": "string",
    "inet": "string",
    "cidr": "string",
    "bpchar": "string",
    "smallint": "number",
    "integer": "number",
    "real": "number",
    "double precision": "number",
    "oid": "number",
    "boolean": "boolean",
    "json": "unknown",
    "jsonb": "unknown",
}
_STRINGS = ("character", "timestamp", "time ", "numeric(", "bit", "interval")
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


# The values of enum types, by the type.
Enums = Mapping[str, Sequence[str]]


def interfaces(plan: str, shape: Shape, enums: Enums) -> str:
    """One interface for a row of each table, in a file that says how it is made."""
    blocks = [f"// Made by: manage.py rollout types {plan}\n"]
    for table, columns in sorted(shape.items()):
        lines = [f"export interface {interface_name(table)} {{"]
        lines += [
            f"  {_property(name)}: {_type(column, enums)};"
            for name, column in sorted(columns.items())
        ]
        blocks.append("\n".join([*lines, "}", ""]))
    return "\n".join(blocks)


def interface_name(table: str) -> str:
    """The name of a table's interface: ``property_types`` is ``PropertyTypes``."""
    words = re.findall(r"[^\W_]+", table)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if _PLAIN_NAME.fullmatch(name) else f"Table{name}"


def first_difference(wanted: str, actual: str) -> str:
    """The first line in which a file differs, as a sentence; empty where none does."""
    right, there = wanted.rstrip().splitlines(), actual.rstrip().splitlines()
    for number in range(max(len(right), len(there))):
        expected_line = right[number].rstrip() if number < len(right) else None
        actual_line = there[number].rstrip() if number < len(there) else None
        if expected_line != actual_line:
            return (
                f"Line {number + 1}: expected {_shown(expected_line)}, found {_shown(actual_line)}."
            )
    return ""


def _shown(line: str | None) -> str:
    if line is None:
        return "the end of the file"
    return f"“{line.strip()}”" if line.strip() else "an empty line"


def _property(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _type(column: Column, enums: Enums) -> str:
    scalar = column.type
    dimensions = 0
    while scalar.endswith("[]"):
        scalar, dimensions = scalar[:-2], dimensions + 1
    type_ = _TYPES.get(scalar) or ("string" if scalar.startswith(_STRINGS) else "unknown")
    if scalar in enums:
        type_ = " | ".join(map(_quoted, enums[scalar]))
        type_ = f"({type_})" if dimensions else type_
    return type_ + "[]" * dimensions + (" | null" if column.null else "")
