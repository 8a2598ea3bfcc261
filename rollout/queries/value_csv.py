"""Values that do not convert as a CSV file for spreadsheets, and the decisions read from one."""

from collections.abc import Iterable, Iterator

from rollout.engine.plain_words import in_plain_words
from rollout.engine.value_decisions import Decision, UnconvertibleValue
from rollout.engine.value_previews import values_or_decisions
from rollout.journal.environments import target_of
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.conversions import Conversion
from rollout.queries.exports import safe_cell
from rollout.queries.mapping_csv import (
    MAX_BYTES,
    MAX_PROBLEMS,
    InvalidMappingFile,
    Problem,
    line_of,
    records_in,
)

# In the column of a new column that stays empty.
EMPTY = "(empty)"
# Instead of a value, to take a decision back.
LEAVE = "(leave)"

__all__ = ["EMPTY", "LEAVE", "MAX_BYTES", "decisions_in", "lines_of", "values_now"]


def values_now(rollout: Rollout, conversion: Conversion) -> list[UnconvertibleValue]:
    """After phase 4 those that were decided about. Raises psycopg.Error."""
    with target_of(rollout.environment).connect() as connection:
        return values_or_decisions(connection, plans.get(rollout.plan), conversion)[0]


def lines_of(conversion: Conversion, values: Iterable[UnconvertibleValue]) -> Iterator[str]:
    """The header and a line for each value; no cell is a formula for spreadsheets."""
    yield line_of(("key", "legacy", "rows", "reason", *_columns(conversion), "decided_by"))
    for value in values:
        decided = value.decided
        chosen = [
            "" if decided is None else EMPTY if (text := decided.get(column)) is None else text
            for column in conversion.decides
        ]
        reason = in_plain_words(value.reason, about=value.text)
        cells = (value.key, value.text, str(value.rows), reason, *chosen, value.reviewer)
        yield line_of(map(safe_cell, cells))


def decisions_in(
    data: bytes, conversion: Conversion, values: Iterable[UnconvertibleValue]
) -> dict[str, Decision]:
    """The decisions of a file that change something, by source. Raises InvalidMappingFile.

    ``key`` says which value a line is about. One without a cell for a new column decides nothing.
    """
    known = {value.key: value for value in values}
    problems: list[Problem] = []
    decisions: dict[str, Decision] = {}
    for line, cells in records_in(data, ("key", *(c.lower() for c in _columns(conversion)))):
        value = known.get(cells["key"].strip())
        if value is None:
            problems.append(Problem(line, "No value has this key. Remove the line."))
            continue
        texts = {c: cells[f"becomes_{c}".lower()].strip() for c in conversion.decides}
        if not any(texts.values()):
            continue
        decision: Decision = {c: None if t in ("", EMPTY) else t for c, t in texts.items()}
        if LEAVE in texts.values():
            decision = None
        if decisions.get(value.source, decision) != decision:
            problems.append(Problem(line, "Another line decides otherwise. Remove one of them."))
        elif decision != value.decided:
            decisions[value.source] = decision
    if problems:
        raise InvalidMappingFile(problems[:MAX_PROBLEMS], max(0, len(problems) - MAX_PROBLEMS))
    return decisions


def _columns(conversion: Conversion) -> tuple[str, ...]:
    return tuple(f"becomes_{column}" for column in conversion.decides)
