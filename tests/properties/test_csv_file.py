from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.loading.csv_file import COLUMNS, FileUnreadable, Rejected, _records, read_listings
from properties.loading.rows import Row

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = ",".join(COLUMNS).encode()
GOOD = b"Home,1 Main St,Queens,11372,Co-op,Sold,250000.00,2,1,900,40.7,-73.9"


def read(path: Path, *lines: bytes) -> list[Row | Rejected]:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return list(read_listings(path, now=NOW))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "listings.csv"


def test_a_row_keeps_its_text_as_it_is(file: Path) -> None:
    (row,) = read(file, HEADER, b'"A ""home""", x,,, co-op\xc2\xa0 ,,,,,,,')
    assert isinstance(row, Row)
    assert (row.title, row.address, row.type, row.status) == (
        'A "home"',
        " x",
        " co-op\u00a0 ",
        None,
    )
    assert (row.price, row.bedrooms) == (None, None)


def test_a_byte_order_mark_other_line_ends_and_another_order_of_columns_are_read(
    file: Path,
) -> None:
    header = ",".join(reversed(COLUMNS)).encode()
    good = b",".join(reversed(GOOD.split(b",")))
    (row,) = read(file, b"\xef\xbb\xbf" + header + b"\r", good + b"\r", b"\r")
    assert isinstance(row, Row)
    assert (row.title, row.longitude) == ("Home", "-73.9")


def test_a_quoted_cell_may_run_over_lines(file: Path) -> None:
    first, second = read(file, HEADER, b'"two\nlines"' + GOOD[4:], b"x")
    assert isinstance(first, Row)
    assert first.title == "two\nlines"
    assert second == Rejected(4, "has 1 columns instead of 12")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a,b", "has 2 columns instead of 12"),
        (GOOD + b",more", "has 13 columns instead of 12"),
        (GOOD.replace(b"250000.00", b"$1"), "price: '$1' is not a number"),
        (GOOD.replace(b"250000.00", b"NaN"), "price: 'NaN' is not a number"),
        (GOOD.replace(b"250000.00", b"-1"), "price: -1 is not between 0 and 9999999999.99"),
        (GOOD.replace(b"250000.00", b"1e99"), "price: 1e99 is not between 0 and 9999999999.99"),
        (GOOD.replace(b",2,", b",2.5,"), "bedrooms: 2.5 is not a whole number"),
        (GOOD.replace(b"40.7", b"95"), "latitude: 95 is not between -90 and 90"),
        (GOOD.replace(b"Home", b"H\xf4me"), "is not UTF-8 (byte 2)"),
        (GOOD.replace(b"Home", b"H\0me"), "contains a NUL character"),
        (b'"' + GOOD, "opens a quotation mark that is never closed"),
        (b'"Home" or so' + GOOD[4:], "is not CSV: ',' expected after '\"'"),
    ],
)
def test_a_malformed_row_is_named_by_line_and_the_rest_is_read(
    file: Path, line: bytes, reason: str
) -> None:
    quoted = b'"Home"' + GOOD[4:]
    before, bad, after, last = read(file, HEADER, GOOD, line, GOOD, quoted)
    assert bad == Rejected(3, reason)
    assert all(isinstance(row, Row) for row in (before, after, last))


def test_a_quotation_mark_that_is_never_closed_costs_one_line_of_a_long_file(file: Path) -> None:
    outcomes = read(file, HEADER, b'"' + GOOD, *[GOOD] * 500)
    assert outcomes[0] == Rejected(2, "opens a quotation mark that is never closed")
    assert sum(isinstance(row, Row) for row in outcomes) == 500


def test_a_row_has_the_same_id_whenever_it_is_read(file: Path) -> None:
    def ids() -> list[str]:
        rows = read(file, HEADER, GOOD, GOOD)
        return [row.id for row in rows if isinstance(row, Row)]

    assert ids() == ids()
    assert len(set(ids())) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (GOOD, "header that names these columns: title, address"),
        (HEADER.replace(b",price", b""), "header that names these columns"),
        (HEADER.decode().encode("utf-16"), "The header .line 1. cannot be read: is not UTF-8"),
    ],
)
def test_a_file_without_a_header_is_unreadable(file: Path, content: bytes, reason: str) -> None:
    file.write_bytes(content)
    with pytest.raises(FileUnreadable, match=reason):
        list(read_listings(file, now=NOW))


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FileUnreadable, match=str(path)):
            list(read_listings(path, now=NOW))


@given(st.lists(st.text(st.sampled_from('a",\n\r '), max_size=12).map(str.encode), max_size=8))
def test_every_line_belongs_to_one_record_whatever_the_file_holds(lines: list[bytes]) -> None:
    whole = [part + b"\n" for line in lines for part in line.split(b"\n")]
    begun = [record.line for record in _records(whole)]
    assert begun == sorted(set(begun))
    assert all(1 <= line <= len(whole) for line in begun)
