"""Names of what a plan keeps in the target, and the SQL of the two text forms it compares by."""

import hashlib
from collections.abc import Sequence

from psycopg import sql

SCHEMA = "rollout"
# A regular expression of the names of twins: what a cutover builds to replace indexes and
# constraints.
TWIN = "^rollout_[0-9]+$"
# Characters; a longer legacy text is no lookup value and stays unmapped until a person decides.
MAX_LOOKUP_CHARACTERS = 200

MAX_IDENTIFIER_BYTES = 63
# With an E, the backslashes are safe from a session that reads plain literals in the old way.
_TIDY = r"btrim(regexp_replace({}, E'[\\s\\u00a0]+', ' ', 'g'))"


def identifier(*parts: str) -> str:
    """Join parts to one PostgreSQL identifier, shortened by a digest where it would be cut off."""
    name = "_".join(parts)
    encoded = name.encode()
    if len(encoded) <= MAX_IDENTIFIER_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: MAX_IDENTIFIER_BYTES - 9].decode(errors="ignore") + "_" + digest


def django_name(table: str, columns: Sequence[str], suffix: str = "") -> str:
    """The name that Django's schema editor gives to an index of columns, or to a constraint.

    The suffix is that of a constraint's kind. A migration of the application finds what a rollout
    made by the name that it would have made itself.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for part in (table, *columns):
        digest.update(part.encode())
    end = digest.hexdigest()[:8] + suffix
    name = "_".join((table, *columns, end))
    if len(name) > MAX_IDENTIFIER_BYTES:
        end = end[: MAX_IDENTIFIER_BYTES // 3]
        length = (MAX_IDENTIFIER_BYTES - len(end)) // 2 - 1
        name = f"{table[:length]}_{'_'.join(columns)[:length]}_{end}"
    # Django counts characters and the server bytes.
    return identifier(name)


class Code(sql.SQL):
    """SQL that runs as it is written: a percent sign in it begins no placeholder."""


def code(text: str) -> sql.SQL:
    """SQL that a developer wrote, in a plan or in this package. Never for what came as data."""
    return Code(text)


def escaped(query: sql.Composable) -> sql.Composable:
    """A query to run with parameters: every % but those of its placeholders is doubled.

    Names, literals and a plan's own SQL may hold one; psycopg would take it for a placeholder.
    """
    if isinstance(query, sql.Composed):
        return sql.Composed([escaped(part) for part in query])
    if isinstance(query, sql.Identifier | sql.Literal | Code):
        text = query.as_string()
        return sql.SQL(text.replace("%", "%%")) if "%" in text else query
    return query


def in_target(name: str) -> sql.Identifier:
    """The qualified name of one of the engine's own objects in the target."""
    return sql.Identifier(SCHEMA, name)


def tidy(text: sql.Composable) -> sql.Composable:
    """SQL of a text with its white space trimmed and folded to single spaces."""
    return sql.SQL(_TIDY).format(text)


def normal(text: sql.Composable) -> sql.Composable:
    """SQL of a text's normal form: tidy and in lower case. Equal normal forms mean one lookup row.

    The target computes it, never Python, so that one set of case rules is in force.
    """
    return sql.SQL("lower({})").format(tidy(text))


def normal_form(column: str) -> str:
    """The normal form of a column, to be written into a ``Derived`` expression."""
    return "{" + column + ":normal}"
