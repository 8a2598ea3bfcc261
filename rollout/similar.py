"""Suggestions for texts that probably mean the lookup row of another."""

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process, utils

CLOSE_ENOUGH = 84.0
"""Of 100, by ``rapidfuzz.fuzz.ratio``: the share of letters that two texts have in common."""
_LONGEST = 200
"""Characters compared: a longer text is no lookup value."""


@dataclass(frozen=True)
class Suggestion:
    """A lookup row's name that a text resembles, and how: in words."""

    name: str
    why: str


def suggest(text: str, names: Sequence[str], *, besides: str | None) -> Suggestion | None:
    """The name among ``names`` that a text most resembles, except for ``besides``, its own.

    A name that the text begins with counts first ("Condo" for "Condo for sale"), then one that is
    spelt much like it. A suggestion is for a person to judge: "Condop" is no "Condo".
    """
    plain = utils.default_process(text[:_LONGEST])
    if not plain:
        return None
    others = [name for name in names if name != besides]
    words = plain.split()
    begun = [
        name
        for name in others
        if (own := utils.default_process(name).split()) and own == words[: len(own)]
    ]
    if begun:
        name = max(begun, key=lambda name: (len(name), name))
        return Suggestion(name, "begins with it")
    found = process.extractOne(
        text[:_LONGEST],
        others,
        scorer=fuzz.ratio,
        processor=utils.default_process,
        score_cutoff=CLOSE_ENOUGH,
    )
    return Suggestion(found[0], f"{found[1]:.0f} % the same letters") if found else None
