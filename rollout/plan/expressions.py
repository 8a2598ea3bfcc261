"""Expressions: SQL over a row, as plans write it, with columns in braces."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from psycopg import sql

from rollout.plan.names import code, normal

# Literal text, the column after it, and the form of that column.
_Part = tuple[str, str | None, str]


@cache
def parts_of(expression: str) -> tuple[_Part, ...]:
    """The expression as literal text, column and form of the column, in turn."""
    return tuple(
        (literal, name, form or "")
        for literal, name, form, _conversion in string.Formatter().parse(expression)
    )


def fault_of(expression: str) -> str:
    """Why an expression cannot be read, as the end of a sentence; empty for one that can be."""
    try:
        parts = list(string.Formatter().parse(expression))
    except ValueError as error:
        return f"cannot be read: {error}"
    for _, name, form, conversion in parts:
        if name == "":
            return "has braces without a column's name"
        if name is not None and (conversion or form not in ("", "normal")):
            rest = f"!{conversion}" if conversion else f":{form}"
            return f"names '{name}{rest}', which is neither a column nor a column:normal"
    return ""


def named(expressions: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that expressions name, each once. Raises ValueError if a brace is open."""
    parts = [part for expression in expressions.values() for part in parts_of(expression)]
    return tuple(dict.fromkeys(name for _, name, _ in parts if name))


def renamed(expression: str, names: Mapping[str, str]) -> str:
    """The expression with columns under other names; ``names`` gives the new name by the old."""
    if not any(name in names for _, name, _ in parts_of(expression)):
        return expression
    return "".join(
        literal.replace("{", "{{").replace("}", "}}")
        + ("" if name is None else f"{{{names.get(name, name)}{':' if form else ''}{form}}}")
        for literal, name, form in parts_of(expression)
    )


def over(
    expression: str,
    row: str,
    normal_forms: Mapping[str, sql.Composable] | None = None,
    instead: Mapping[str, sql.Composable] | None = None,
) -> sql.Composed:
    """SQL of an expression over the row variable or alias ``row``, in parentheses.

    ``normal_forms`` says where the normal form of a column is at hand already; ``instead`` gives
    values that columns are to have instead of those of the row.
    """
    parts: list[sql.Composable] = [sql.SQL("(")]
    for literal, name, form in parts_of(expression):
        parts.append(code(literal))
        if name is None:
            continue
        column = (instead or {}).get(name) or sql.Identifier(row, name)
        if form == "normal":
            # The normal form of NULL is the empty text, as in the mapping.
            column = (normal_forms or {}).get(name) or normal(
                sql.SQL("coalesce({}, '')").format(column)
            )
        parts.append(column)
    return sql.Composed([*parts, sql.SQL(")")])


@dataclass(frozen=True)
class Condition:
    """SQL over a table's own row, with columns in braces as in ``Derived``."""

    expression: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that it names, each once. Raises ValueError if a brace is open."""
        return named({"": self.expression})

    @property
    def sql(self) -> sql.Composed:
        """In parentheses, its columns without the table: as a constraint has it."""
        return over(
            self.expression, "", instead={name: sql.Identifier(name) for name in self.columns}
        )

    def __str__(self) -> str:
        """As people read it."""
        return "".join(f"{text}{name or ''}" for text, name, _ in parts_of(self.expression))
