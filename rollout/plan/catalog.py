"""The catalog of a database: columns, defaults, keys, indexes, constraints, triggers, views.

Everything is a part of a table with a text for people, so that comparing two catalogs is comparing
texts. The engine reads the live catalog into the same form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from rollout.plan.table import Column, Shape

# In the order in which pages list them.
Kind = Literal["view", "column", "default", "primary key", "index", "constraint", "trigger"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Part(NamedTuple):
    """One part of a table. A primary key and a view's own state have no name."""

    kind: Kind
    name: str = ""


VIEW = Part("view")
_NOT_NULL = " not null"
# A materialized view's state, or that it is none.
POPULATED = "populated"
PLAIN = "not materialized"


@dataclass
class Catalog:
    """The parts of tables, by a table's label. ``known`` parts must be missing unless they are put.

    A part that is neither put nor known anywhere in a plan belongs to the application alone.
    """

    tables: "dict[str, dict[Part, str]]" = field(default_factory=dict)
    known: set[tuple[str, Part]] = field(default_factory=set)
    has_engine: bool = True
    """Whether the engine's own schema is there."""

    def put(self, table: str, part: Part, text: str) -> None:
        self.tables.setdefault(table, {})[part] = text
        self.known.add((table, part))

    def take(self, table: str, part: Part) -> None:
        """The part must be missing from here on."""
        self.tables.get(table, {}).pop(part, None)
        self.known.add((table, part))

    def know(self, table: str, part: Part) -> None:
        """The part must be missing unless it is put."""
        self.known.add((table, part))

    def rename(self, table: str, names: Mapping[str, str]) -> None:
        """Columns of the table get other names; a CHECK is told as the plan writes it."""
        for part, text in self.tables.get(table, {}).items():
            if names and part.kind in ("index", "constraint") and not text.startswith("check"):
                before, _, rest = text.partition("(")
                listed, _, after = rest.partition(")")
                columns = ", ".join(names.get(c, c) for c in listed.split(", "))
                self.tables[table][part] = f"{before}({columns}){after}"

    def copy(self) -> "Catalog":
        tables = {table: dict(parts) for table, parts in self.tables.items()}
        return Catalog(tables, set(self.known), self.has_engine)

    @property
    def shape(self) -> Shape:
        """The columns of the tables; views are left out."""
        return {
            table: {
                part.name: Column(text.removesuffix(_NOT_NULL), not text.endswith(_NOT_NULL))
                for part, text in parts.items()
                if part.kind == "column"
            }
            for table, parts in sorted(self.tables.items())
            if VIEW not in parts
        }


def what_has(parts: Mapping[Part, str]) -> str:
    """What a relation with these parts is, with its article."""
    if VIEW not in parts:
        return "a table"
    return "a view" if parts[VIEW] == PLAIN else "a materialized view"


def column_text(column: Column) -> str:
    return column.type if column.null else column.type + _NOT_NULL


def index_text(columns: tuple[str, ...], *, unique: bool = False, valid: bool = True) -> str:
    """An index as the catalogs tell it; a column that is an expression is ``EXPRESSION``."""
    kind = "unique btree" if unique else "btree"
    return f"{kind} ({', '.join(columns)}), {'valid' if valid else 'invalid'}"


EXPRESSION = "an expression"


def foreign_key_text(
    columns: tuple[str, ...], target: str, target_columns: tuple[str, ...], *, valid: bool = True
) -> str:
    there = f"{target} ({', '.join(target_columns)})"
    state = "validated" if valid else "not validated"
    return f"foreign key ({', '.join(columns)}) to {there}, {state}"


# Before a CHECK's condition in its comment: the server writes the condition itself otherwise.
CHECK_COMMENT = "rollout: "


def check_text(condition: str, *, valid: bool = True) -> str:
    """A CHECK of a plan's, by the condition as the plan writes it."""
    return f"check ({condition}), {'validated' if valid else 'not validated'}"


def unique_text(columns: tuple[str, ...]) -> str:
    return f"unique ({', '.join(columns)})"


# The end of a deferrable constraint's text.
DEFERRABLE = ", deferrable"


def trigger_text(what: str, *, enabled: bool = True) -> str:
    """A trigger of the engine by its stage, another one by its function."""
    return f"{what}, {'enabled' if enabled else 'disabled'}"
