"""Texts that others wrote: what of them can be stored, and how they are shown outside a page."""

import re
from collections.abc import Sequence

# Control characters, what ends a line, what turns the direction of text round, and halves of
# characters: a terminal obeys some of them, and a line of a log could pass for two. And what
# nobody sees: two texts that differ in it alone would be shown as one.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u2060\ufeff\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# PostgreSQL stores no NUL, and UTF-8 has no lone half of a character.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def visible(text: str, *, keep: str = "") -> str:
    """A text with its control characters as escapes (``\\u001b``), except those to keep."""

    def escaped(match: re.Match[str]) -> str:
        character = match[0]
        if character in keep:
            return character
        return _SHORT.get(character) or f"\\u{ord(character):04x}"

    return _CONTROLS.sub(escaped, text)


_SINGULARS = {
    "are": "is",
    "do": "does",
    "have": "has",
    "match": "matches",
    "mismatch": "mismatches",
}


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun, whose plural is regular, and a verb that is given in the plural."""
    if number == 1:
        return f"1 {noun} {_SINGULARS.get(verb, '')}".rstrip()
    return f"{number:,} {noun}s {verb}".rstrip()


def as_sentence(text: str) -> str:
    """What a person typed, with a full stop unless it ends with a mark of its own."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def listed(texts: Sequence[str], at_most: int, separator: str = "; ") -> str:
    """The first texts, and how many more there are."""
    more, semicolon = len(texts) - at_most, separator.strip(", ")
    end = f"{semicolon} and {more:,} more" if more > 0 else ""
    return separator.join(texts[:at_most]) + end


def is_storable(text: str) -> bool:
    """Whether a database takes the text: it has no NUL and no lone surrogate."""
    return _UNSTORABLE.search(text) is None
