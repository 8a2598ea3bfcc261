"""Asks the data what would make a step fail."""

import re

from rollout.engine.target import Connection, own
from rollout.plan.hazards import MAX_COUNTED, Hazard

# Of the listed rows: some twenty keys that are uuids.
_SHOWN_CHARACTERS = 1000


# How a finding begins: the count with its noun, and the verb after it.
_PLURAL = re.compile(
    r"^1 ((?:unique |duplicate )?(?:row|object|index|function|column|value))e?s\b"
    r"(?:(.*?)(?<!would )\b(have|break|depend|are|mention)\b)?"
)
_VERBS = {"have": "has", "break": "breaks", "depend": "depends", "are": "is", "mention": "mentions"}


def _singular(match: re.Match[str]) -> str:
    noun, between, verb = match.groups()
    return f"1 {noun}{between or ''}{_VERBS.get(verb, '')}"


def finding(connection: Connection, hazard: Hazard) -> str:
    """How many rows there are, in a sentence, and the first of them; empty if there are none.

    Raises UndefinedTable and UndefinedColumn where it cannot be asked yet.
    """
    row = connection.execute(own(hazard.sql)).fetchone()
    count, examples = (int(row[0]), row[1]) if row else (0, None)
    if not count:
        return ""
    counted = f"{count:,}{' or more' if count >= MAX_COUNTED else ''}"
    # A condition or a name in the sentence may have braces of its own.
    sentence = hazard.finding.replace("{count}", counted)
    if count == 1:
        sentence = _PLURAL.sub(_singular, sentence)
    if not examples:
        return sentence
    cut = "…" if len(examples) > _SHOWN_CHARACTERS else "."
    return f"{sentence} Examples: {examples[:_SHOWN_CHARACTERS]}{cut}"
