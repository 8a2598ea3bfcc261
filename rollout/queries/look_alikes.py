"""Legacy values that a reader can hardly tell apart, offered for joining."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rollout.engine.mapping import Decision, Value

# Cyrillic, Greek and Armenian letters, and the Latin ones that they look like.
_LATIN = dict(
    zip(
        "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅԌΑΒΕΖΗΙΚΜΝΟΡΤΥΧοօոսհցՕՍԼ",
        "aeopcyxijshdqwABEKMHOPCTYXIJSGABEZHIKMNOPTYXoonuhgOUL",
        strict=True,
    )
)
LOOK_ALIKES = frozenset(_LATIN)
_AS_LATIN = str.maketrans(_LATIN)
_HIDDEN_ASCII = re.compile(r"[\x00-\x20\x7f]")
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def skeleton(text: str) -> str:
    """The same for all texts that differ only by white space, invisible characters, case, width,
    composed letters or letters that look alike; empty where nothing can be seen."""
    if text.isascii():
        plain = text.replace(" ", "") if text.isprintable() else _HIDDEN_ASCII.sub("", text)
        return plain.upper()
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if not c.isspace() and not _is_invisible(c))
    # A small letter may have a look-alike where its capital has none, and the other way round.
    text = text.translate(_AS_LATIN).upper().translate(_AS_LATIN)
    return unicodedata.normalize("NFKC", text)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") or character in _VARIATION_SELECTORS


@dataclass(frozen=True)
class LookAlikes:
    """Values of one skeleton: the leading one, whose lookup row the others would get."""

    leading: Value
    others: list[Value]
    name: str

    @property
    def rows(self) -> int | None:
        """Rows of the others; None where they were not counted."""
        counts = [value.rows for value in self.others]
        return None if None in counts else sum(n for n in counts if n is not None)

    @property
    def decisions(self) -> dict[str, Decision]:
        return {value.normal: Decision(self.name) for value in self.others}


def groups_of(values: Iterable[Value]) -> list[list[Value]]:
    """The values by skeleton, each in one group, the leading one first: a person's decision leads,
    then the most rows."""
    groups: defaultdict[str, list[Value]] = defaultdict(list)
    for value in values:
        if value.normal and (key := skeleton(value.normal)):
            groups[key].append(value)
    return [
        # Most stand alone.
        sorted(group, key=lambda v: (not v.reviewer, -(v.rows or 0), v.normal))
        if len(group) > 1
        else group
        for group in groups.values()
    ]


def look_alikes(values: Iterable[Value]) -> list[LookAlikes]:
    """The groups that can be joined, those of the most rows first.

    What a person decided is left as it is; so is a group whose leading value has no lookup row.
    """
    joinable = []
    for leading, *rest in (group for group in groups_of(values) if len(group) > 1):
        name = leading.name or (leading.proposed if leading.is_unmapped else None)
        others = [value for value in rest if not value.reviewer and value.name != name]
        if name and others:
            joinable.append(LookAlikes(leading, others, name))
    return sorted(joinable, key=lambda group: (-(group.rows or 0), group.leading.normal))
