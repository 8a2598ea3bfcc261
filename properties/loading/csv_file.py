"""Reads listings from a CSV file, and says of each row that cannot be read where and why."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid5

from properties.loading.rows import Row

COLUMNS = (
    "title",
    "address",
    "city",
    "postal_code",
    "type",
    "status",
    "price",
    "bedrooms",
    "bathrooms",
    "area_sqft",
    "latitude",
    "longitude",
)
NAMESPACE = UUID("6f0f3f0e-0f58-4a40-9f0c-2a4f9a1d7c11")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A quoted cell may run over this many lines; past it the quotation mark counts as never closed.
MAX_RECORD_LINES = 100


class FileUnreadable(Exception):
    """Nothing can be read from the file. The message says why."""


class RowRefused(Exception):
    """A row cannot be loaded. The message says why."""


@dataclass(frozen=True)
class Rejected:
    """A row that was left out. ``line`` is where it begins, counted from 1."""

    line: int
    reason: str


@dataclass(frozen=True)
class _Record:
    line: int
    text: str
    cells: Sequence[str]


def read_listings(path: Path, *, now: datetime) -> Iterator[Row | Rejected]:
    """The rows of a UTF-8 file (a byte order mark is allowed) that begins with a header.

    A row's id depends on its line and content alone. Raises FileUnreadable.
    """
    try:
        with path.open("rb") as file:
            yield from _read(file, now=now)
    except OSError as error:
        raise FileUnreadable(f"{path}: {error.strerror}") from error


def _read(lines: Iterable[bytes], *, now: datetime) -> Iterator[Row | Rejected]:
    records = _records(lines)
    header = _header(next(records, None))
    for record in records:
        if isinstance(record, Rejected):
            yield record
            continue
        try:
            yield _row(record, header, now=now)
        except RowRefused as refusal:
            yield Rejected(record.line, str(refusal))


def _header(record: _Record | Rejected | None) -> Sequence[str]:
    if record is None:
        raise FileUnreadable("The file is empty.")
    if isinstance(record, Rejected):
        raise FileUnreadable(f"The header (line {record.line}) cannot be read: {record.reason}.")
    header = [cell.strip().lower() for cell in record.cells]
    if sorted(header) != sorted(COLUMNS):
        raise FileUnreadable(
            f"The first line must be a header that names these columns: {', '.join(COLUMNS)}."
        )
    return header


def _records(lines: Iterable[bytes]) -> Iterator[_Record | Rejected]:
    """Split lines into records, so that a stray quotation mark costs one line and not the rest."""
    source = iter(lines)
    waiting: deque[bytes] = deque()
    line, columns = 1, 0
    while True:
        if not waiting:
            first = next(source, None)
            if first is None:
                return
            waiting.append(first.removeprefix(BYTE_ORDER_MARK) if line == 1 else first)
        record, taken = _next_record(waiting, source, line=line, columns=columns)
        for _ in range(taken):
            waiting.popleft()
        if record is not None:
            yield record
            # The header says how many cells every later record is to have.
            if isinstance(record, _Record) and not columns:
                columns = len(record.cells)
        line += taken


def _next_record(
    waiting: deque[bytes], source: Iterator[bytes], *, line: int, columns: int
) -> tuple[_Record | Rejected | None, int]:
    """The record that begins with the first waiting line, and how many lines it takes."""
    text = ""
    for taken in range(1, MAX_RECORD_LINES + 1):
        if len(waiting) < taken:
            following = next(source, None)
            if following is None:
                break
            waiting.append(following)
        try:
            text += waiting[taken - 1].decode()
            if "\0" in text:
                return Rejected(line, "contains a NUL character"), 1
            cells = next(csv.reader([text], strict=True), [])
        except UnicodeDecodeError as error:
            if taken > 1:
                break
            return Rejected(line, f"is not UTF-8 (byte {error.start + 1})"), 1
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                continue  # a quoted cell is still open: it may end on the next line
            if taken > 1:
                break
            return Rejected(line, f"is not CSV: {error}"), 1
        if not text.strip():
            return None, taken
        if columns and len(cells) != columns:
            if taken > 1:
                break
            return Rejected(line, f"has {len(cells)} columns instead of {columns}"), 1
        return _Record(line, text.rstrip("\r\n"), cells), taken
    return Rejected(line, "opens a quotation mark that is never closed"), 1


def _row(record: _Record, header: Sequence[str], *, now: datetime) -> Row:
    cells = dict(zip(header, record.cells, strict=True))
    # The first row of the file is the newest, as on the site that listed it.
    created = (now - timedelta(seconds=record.line)).isoformat()
    return Row(
        id=str(uuid5(NAMESPACE, f"{record.line}:{record.text}")),
        title=cells["title"],
        description="",
        address=cells["address"],
        city=cells["city"],
        postal_code=cells["postal_code"],
        price=_number(cells, "price", 0, Decimal("9999999999.99")),
        bedrooms=_whole_number(cells, "bedrooms", 0, 32_767),
        bathrooms=_number(cells, "bathrooms", 0, Decimal("999.9")),
        area=_number(cells, "area_sqft", 0, Decimal("999999999.9")),
        latitude=_number(cells, "latitude", -90, 90),
        longitude=_number(cells, "longitude", -180, 180),
        type=cells["type"] or None,
        status=cells["status"] or None,
        created_at=created,
        updated_at=created,
    )


def _number(
    cells: dict[str, str], name: str, low: Decimal | int, high: Decimal | int
) -> str | None:
    text = cells[name].strip()
    if not text:
        return None
    if not NUMBER.fullmatch(text):
        raise RowRefused(f"{name}: {text[:40]!r} is not a number")
    if not low <= Decimal(text) <= high:
        raise RowRefused(f"{name}: {text[:40]} is not between {low} and {high}")
    return text


def _whole_number(cells: dict[str, str], name: str, low: int, high: int) -> str | None:
    text = _number(cells, name, low, high)
    if text is None:
        return None
    if Decimal(text) % 1:
        raise RowRefused(f"{name}: {text} is not a whole number")
    return str(int(Decimal(text)))
