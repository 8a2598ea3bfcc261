"""Downloads of mismatching rows: complete, and harmless in a spreadsheet."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.exports import COLUMNS, as_csv, as_json, safe_cell

rows = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
            for name in COLUMNS
        }
    ),
    max_size=5,
)


@given(rows)
def test_csv_gives_every_cell_back_and_none_begins_a_formula(found: list[dict[str, str]]) -> None:
    text = "".join(as_csv(found))
    heading, *lines = csv.reader(io.StringIO(text, newline=""))
    assert heading == list(COLUMNS)
    assert len(lines) == len(found)
    for line, row in zip(lines, found, strict=True):
        for cell, name in zip(line, COLUMNS, strict=True):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell.removeprefix("'") == (row[name] or "").removeprefix("'") or cell == (
                f"'{row[name]}"
            )


@given(rows)
def test_json_gives_every_value_back(found: list[dict[str, str]]) -> None:
    assert json.loads("".join(as_json(found))) == found


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("House", "House"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'quoted", "''quoted"),
        (12, "12"),
    ],
)
def test_a_cell_that_would_be_calculated_gets_an_apostrophe(value: object, cell: str) -> None:
    assert safe_cell(value) == cell
