"""How a scaffold writes names, values and comments."""

import json
import re
import textwrap
from collections.abc import Iterable

from rollout.engine.introspections import Texts
from rollout.plan.names import identifier


def free(wanted: str, taken: set[str]) -> str:
    """The name, with a number if it is taken; it is taken from now on."""
    name, number = identifier(wanted), 1
    while name in taken:
        number += 1
        name = identifier(wanted, str(number))
    taken.add(name)
    return name


def counts_of(texts: Texts) -> str:
    """What was counted of a column, as the begin of a sentence."""
    rows = f"the first {texts.rows:,} rows" if texts.in_part else f"{texts.rows:,} rows"
    return (
        f"{texts.distinct:,} spellings of {texts.forms:,} values in {rows}, {texts.blank:,} of "
        "them blank"
    )


def wrapped(comment: str) -> list[str]:
    """A comment as the lines of one."""
    return textwrap.wrap(comment, 84, break_long_words=False, break_on_hyphens=False)


def python_text(value: object) -> str:
    """A text, a tuple of texts or None as Python writes it; texts in double quotes."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return listed(map(python_text, value))
    return json.dumps(value, ensure_ascii=False)


def listed(values: Iterable[str]) -> str:
    """A tuple of what is Python already."""
    texts = list(values)
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def constant_of(name: str) -> str:
    """The name of a constant after a column or a table."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").upper()
    return word if word[:1].isalpha() else f"COLUMN_{word}"


def slug(text: str) -> str:
    """A text as ids of steps and plans have it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "plan"


def plural(word: str) -> str:
    """The word as the name of a table of several."""
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"
