"""Suggestions for legacy texts that probably mean the lookup row of a similar text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process, utils

from rollout.engine.mapping import Review, Value
from rollout.queries.look_alikes import LookAlikes, look_alikes

# Percent, by ``rapidfuzz.fuzz.ratio``: the share of letters that two texts have in common.
MIN_SCORE = 84.0
# The names of the most rows are compared: a rare one is seldom what was meant.
MAX_NAMES = 2000
# Of so many that resemble a text, the first that may be meant counts.
MAX_ALIKE = 50
# A code of so few letters resembles any other.
MAX_CODE = 2
# What people write for a missing value, by normal form.
PLACEHOLDERS = frozenset(
    ("null", "(null)", "none", "(none)", "nil", "n/a", "#n/a", "na", "n.a.", "nan", "undefined")
)
_NUMBER = re.compile(r"\d+")
# The reasons of mappings that neither a person nor the plan decided.
_UNDECIDED = ("exact", "trimmed", "case", "unmapped")


@dataclass(frozen=True)
class Suggestion:
    """A lookup row's name that a text resembles, and in what; an empty name stands for no value.

    ``similarity`` is the share of letters that both have in common, in percent.
    """

    name: str
    why: str
    similarity: int = 100


class Suggestions:
    """What the texts of a review resemble, for a person to decide: a condop is no condo.

    What it looks like counts first ("Houseboat" for "House boat"), then a name that the text begins
    with ("Condo" for "Condo for sale"), then one of at least as many rows that has the same words
    or is spelt much like it.
    """

    def __init__(self, review: Review, alike: Sequence[LookAlikes] | None = None) -> None:
        """``alike`` are the look-alikes of the review's values, where they are known."""
        if alike is None:
            alike = look_alikes(review.values)
        self._names = review.most_used(MAX_NAMES)
        self._plain = [utils.default_process(name) for name in self._names]
        self._rows = review.rows_of_names
        rarest_first = sorted(range(len(self._names)), key=lambda n: self._rows[self._names[n]])
        self._looks_like = {value.normal: group.name for group in alike for value in group.others}
        # If names differ in signs alone, the one with the most rows counts.
        self._words = {tuple(words): n for n in rarest_first if (words := self._plain[n].split())}

    def of(self, value: Value) -> Suggestion | None:
        if value.why not in _UNDECIDED or not value.normal:
            return None
        if value.normal in PLACEHOLDERS:
            return Suggestion("", "placeholder") if value.name else None
        if name := self._looks_like.get(value.normal):
            return Suggestion(name, "look-alike")
        plain = utils.default_process(value.text)
        words = tuple(plain.split())
        # Signs alone are like any others, too.
        if len(plain) <= MAX_CODE:
            return None
        for length in range(len(words), 0, -1):
            number = self._words.get(words[:length])
            if number is None or self._names[number] == value.name:
                continue
            if len(self._plain[number]) <= MAX_CODE:
                continue
            if length < len(words):
                similarity = int(fuzz.ratio(plain, self._plain[number]))
                return Suggestion(self._names[number], "starts with it", similarity)
            if self._rows[self._names[number]] >= (value.rows or 0):
                return Suggestion(self._names[number], "same words")
        for _, score, number in process.extract(
            plain, self._plain, scorer=fuzz.ratio, score_cutoff=MIN_SCORE, limit=MAX_ALIKE
        ):
            name = self._names[number]
            if _have_other_numbers(plain, self._plain[number]):
                continue
            if name != value.name and self._rows.get(name, 0) >= (value.rows or 0):
                return Suggestion(name, f"{score:.0f} % alike", int(score))
        return None

    def of_all(self, values: Iterable[Value]) -> dict[str, Suggestion]:
        """Suggestions by normal form, for the values that have one."""
        suggestions = ((value.normal, self.of(value)) for value in values)
        return {form: suggestion for form, suggestion in suggestions if suggestion is not None}


def _have_other_numbers(text: str, name: str) -> bool:
    """Whether both have numbers, and not the same: unit 74 is no misspelt unit 4."""
    numbers, of_name = _NUMBER.findall(text), _NUMBER.findall(name)
    return bool(numbers and of_name) and numbers != of_name
