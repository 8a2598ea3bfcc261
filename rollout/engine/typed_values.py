"""What people type as a new column's value: as the column writes it, or what to type instead."""

import re

import psycopg
from psycopg import errors, sql

from rollout.engine.plain_words import in_plain_words
from rollout.engine.target import Connection, own
from rollout.plan.conversions import Conversion, cast
from rollout.plan.extractions import Extract
from rollout.plan.names import code
from rollout.plan.vocabulary_columns import VocabularyColumn

_WHOLE = ("smallint", "integer", "bigint")
_NUMBERS = (*_WHOLE, "numeric", "real", "double precision")
# Digits in groups of three, whatever stands between the groups, and a part after the point.
_GROUPED = re.compile(
    r"([+-]?\d{1,3}(?P<between>[,.'\u2019_\s])\d{3}(?:(?P=between)\d{3})*)"
    r"(?:(?!(?P=between))[.,](?P<part>\d+))?"
)
# No number as an example: people would take it for one of the value that they decide about.
_WAYS_TO_TYPE = {
    **dict.fromkeys(_WHOLE, "Enter digits alone, in the unit of {column}."),
    **dict.fromkeys(_NUMBERS[len(_WHOLE) :], "Enter digits with a point, in the unit of {column}."),
    "date": "Enter it as 2026-01-31.",
    "timestamp without time zone": "Enter it as 2026-01-31 18:00.",
    "timestamp with time zone": "Enter it as 2026-01-31 18:00+00.",
    "boolean": "Enter true or false.",
}


class UnfitValue(Exception):
    """A value that its column cannot hold; the message says why, and what to type instead."""


def as_stored(
    connection: Connection, conversion: Conversion, column: str, text: str | None
) -> str | None:
    """A value as its column writes it. Raises UnfitValue."""
    if text is None:
        if not conversion.decides_empty:
            raise UnfitValue(f"{column} becomes NOT NULL. Enter a value.")
        return None
    if "\x00" in text:
        raise UnfitValue(f"{column} cannot contain NUL characters. Enter another value.")
    if isinstance(conversion, VocabularyColumn) and text not in conversion.vocabulary:
        known = ", ".join(conversion.vocabulary)
        raise UnfitValue(f"{column} takes only these values: {known}. Enter one of them.")
    type_ = conversion.decides[column].type
    value = cast(sql.SQL("{}::text").format(sql.Literal(text)), type_)
    try:
        with connection.transaction():
            row = connection.execute(
                sql.SQL(
                    "SELECT v::text, v::{} IS NOT DISTINCT FROM v FROM (SELECT {}) AS s (v)"
                ).format(code(type_), value)
            ).fetchone()
    except psycopg.Error as error:
        reason = in_plain_words(error.diag.message_primary or str(error))
        instead = "Enter a number closer to 0."
        if not isinstance(error, errors.NumericValueOutOfRange):
            instead = _instead(connection, conversion, column, text)
        raise UnfitValue(f"{column} cannot hold this value: {reason}. {instead}") from error
    assert row is not None
    stored, fits = row
    if not fits:
        raise UnfitValue(f"{column} is {type_}: this value is too long. Enter a shorter one.")
    return str(stored)


def _instead(connection: Connection, conversion: Conversion, column: str, text: str) -> str:
    """What to type instead: the same number without separators, or what a legacy value of this
    text becomes; else how values of the type are written."""
    type_ = re.sub(r"\(.*?\)", "", conversion.decides[column].type)
    number = _without_separators(text, type_)
    converted = _as_legacy_value(connection, conversion, column, text)
    if converted is None or converted == number:
        way = _WAYS_TO_TYPE.get(type_, "Enter another value.").format(column=column)
        return f"Enter {number}." if number else way
    meant = f"{converted} if you mean what a legacy value of “{text}” becomes"
    return f"Enter {number}, or {meant}." if number else f"Enter {meant}."


def _without_separators(text: str, type_: str) -> str:
    """``1200000`` of ``1,200,000``; empty where that leaves no value of the type."""
    grouped = _GROUPED.fullmatch(text) if type_ in _NUMBERS else None
    if grouped is None or (type_ in _WHOLE and grouped["part"]):
        return ""
    digits = grouped[1].replace(grouped["between"], "")
    return f"{digits}.{grouped['part']}" if grouped["part"] else digits


def _as_legacy_value(
    connection: Connection, conversion: Conversion, column: str, text: str
) -> str | None:
    """What the column would hold if the one legacy column had this text; None if nothing."""
    reads = conversion.reads
    if isinstance(conversion, Extract) or len(reads) != 1:
        return None
    (legacy,) = reads
    value = cast(
        sql.SQL("{}::text").format(sql.Literal(text)), conversion.table.columns[legacy].type
    )
    try:
        with connection.transaction():
            row = connection.execute(
                own(
                    sql.SQL("SELECT ({})::text").format(
                        conversion.values("t", instead={legacy: value})[column]
                    )
                )
            ).fetchone()
    except psycopg.Error:
        return None
    return row[0] if row is not None else None
