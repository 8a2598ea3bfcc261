"""PostgreSQL's messages about values, in the words of people who decide about them."""

import re

_NO_SYNTAX = re.compile(r'invalid input syntax for type ([a-z ]+): "(.*)"', re.DOTALL)
_KINDS = {
    **dict.fromkeys(("smallint", "integer", "bigint"), "a whole number, written as digits"),
    **dict.fromkeys(("numeric", "real", "double precision"), "a number"),
    **dict.fromkeys(("timestamp", "timestamp with time zone"), "a date and time"),
    "date": "a date",
    "boolean": "true or false",
    "uuid": "a UUID",
}


def in_plain_words(message: str, *, about: str = "") -> str:
    """PostgreSQL's message about a text that a type does not take, for people.

    The text itself is left out where the sentence stands beside it, as ``about``.
    """
    no_syntax = _NO_SYNTAX.fullmatch(message)
    if no_syntax is None:
        return message
    type_, text = no_syntax.groups()
    kind = _KINDS.get(type_, f"a value of type {type_}")
    return f"Not {kind}" if text == about else f"“{text}” is not {kind}"
