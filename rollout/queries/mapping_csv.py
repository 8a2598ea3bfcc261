"""A lookup's mapping as a CSV file for spreadsheets, and the decisions read from one."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.engine.mapping import Decision, Spelling, Value
from rollout.plan.errors import RolloutError
from rollout.queries.exports import safe_cell, text_of_cell

if TYPE_CHECKING:
    import _csv

COLUMNS = ("legacy", "rows", "lookup", "why", "decided_by")
# In the column ``lookup`` of a text that means no lookup row.
NO_VALUE = "(no value)"
# In the column ``lookup``, to withdraw a decision.
BY_DEFAULT = "(plan default)"
MAX_BYTES = 5_000_000
MAX_PROBLEMS = 50


@dataclass(frozen=True)
class Problem:
    """What is wrong with a line, counted from 1."""

    line: int
    message: str


class InvalidMappingFile(RolloutError):
    """A file with wrong lines, of which nothing was read. ``problems`` are the first of them."""

    def __init__(self, problems: list[Problem], more: int = 0) -> None:
        super().__init__(" ".join(f"Line {p.line}: {p.message}" for p in problems))
        self.problems = problems
        self.more = more


def lines_of(values: Iterable[Value]) -> Iterator[str]:
    """The header and a line for each text; no cell is a formula for spreadsheets."""
    yield line_of(COLUMNS)
    for value in values:
        for spelling in value.spellings:
            rows = "" if spelling.rows is None else str(spelling.rows)
            cells = (spelling.text, rows, _lookup(value, spelling), spelling.why, value.reviewer)
            yield line_of([safe_cell(cell) for cell in cells])


def _lookup(value: Value, spelling: Spelling) -> str:
    """The cell in the column ``lookup``; empty if the text has no mapping."""
    if spelling.why == "unmapped":
        return ""
    if value.name is None:
        return NO_VALUE if spelling.why == "no_value" else ""
    return value.name


def line_of(cells: Iterable[str]) -> str:
    """A line of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def decisions_in(data: bytes, values: Iterable[Value]) -> dict[str, Decision]:
    """The decisions of a file that change the mapping, by legacy text. Raises InvalidMappingFile.

    ``legacy`` and ``lookup`` are the columns that count. A line whose ``lookup`` is empty or as it
    is decides nothing; each text must be one of ``values``.
    """
    known = {s.text: (value, s) for value in values for s in value.spellings}
    rows = [
        (line, cells["legacy"], cells["lookup"].strip())
        for line, cells in records_in(data, ("legacy", "lookup"))
    ]
    problems: list[Problem] = []
    decisions: dict[str, Decision] = {}
    decided_at: dict[str, tuple[int, str, Decision]] = {}
    for line, legacy, lookup in rows:
        if legacy not in known:
            problems.append(
                Problem(line, f"No row has the value “{_short(legacy)}”. Remove the line.")
            )
            continue
        value, spelling = known[legacy]
        if not lookup or lookup == _lookup(value, spelling):
            continue
        if not value.normal:
            problems.append(
                Problem(
                    line,
                    "Blank values are set by the plan (blank= of the lookup). Change them there.",
                )
            )
            continue
        decision = Decision(None if lookup == NO_VALUE else lookup)
        if lookup == BY_DEFAULT:
            decision = Decision(by_default=True)
        earlier = decided_at.setdefault(value.normal, (line, legacy, decision))
        if earlier[2] != decision:
            what = (
                f"“{_short(legacy)}” stands in line {earlier[0]} too. Remove one of the two."
                if legacy == earlier[1]
                else f"“{_short(legacy)}” differs from the value of line {earlier[0]} only in "
                "case or whitespace. Give both the same lookup."
            )
            problems.append(Problem(line, what))
            continue
        decisions[legacy] = decision
    if problems:
        raise InvalidMappingFile(problems[:MAX_PROBLEMS], max(0, len(problems) - MAX_PROBLEMS))
    return decisions


def records_in(data: bytes, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line, and cells by column in lower case, of each record. Raises InvalidMappingFile."""
    reader, names = reader_of(
        data, most=MAX_BYTES, otherwise="Split it: the decisions of several files add up."
    )
    header = [name.lower() for name in names]
    missing = [name for name in needed if name not in header]
    if missing:
        raise InvalidMappingFile(
            [Problem(1, f"The header lacks {' and '.join(missing)}. Start from the download.")]
        )
    return [
        (line, dict(zip(header, map(text_of_cell, cells), strict=True)))
        for line, cells in records_of(reader, len(header))
    ]


def reader_of(data: bytes, *, most: int, otherwise: str) -> "tuple[_csv.Reader, list[str]]":
    """What reads the records of a file, and its header. Raises InvalidMappingFile.

    ``most`` is the largest number of bytes that it may have, ``otherwise`` what to do about more.
    """
    if len(data) > most:
        raise InvalidMappingFile(
            [Problem(1, f"The file is larger than {most // 1_000_000} MB. {otherwise}")]
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidMappingFile(
            [Problem(line, "Not UTF-8 text. Save the file as “CSV UTF-8”.")]
        ) from error
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise InvalidMappingFile([Problem(line, "Contains a NUL character. Save the file as CSV.")])
    head = text.partition("\n")[0]
    # Spreadsheets in much of Europe write semicolons.
    separator = ";" if head.count(";") > head.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return reader, [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise _no_csv(reader, error) from error


def records_of(reader: "_csv.Reader", number: int) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, of which each has ``number``. Raises InvalidMappingFile."""
    begins = reader.line_num + 1
    try:
        for record in reader:
            # A quoted cell may run over several lines.
            line, begins = begins, reader.line_num + 1
            if not record:
                continue
            if len(record) != number:
                raise InvalidMappingFile(
                    [
                        Problem(
                            line,
                            f"{len(record)} cells, but the header has {number}. Add or remove "
                            "separators.",
                        )
                    ]
                )
            yield line, record
    except csv.Error as error:
        raise _no_csv(reader, error) from error


def _no_csv(reader: "_csv.Reader", error: csv.Error) -> InvalidMappingFile:
    return InvalidMappingFile([Problem(reader.line_num, f"Not a CSV file: {error}.")])


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
