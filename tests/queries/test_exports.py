"""Downloads of mismatching rows: complete, and harmless in a spreadsheet."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.queries.exports import COLUMNS, as_csv, as_json, safe_cell

SPACES = (0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x200B, 0x2003, 0x2028, 0x3000, 0xFEFF)
"""What a spreadsheet may leave out before a formula."""

rows = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none()
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
            | st.text(st.sampled_from([*map(chr, SPACES), *"=+-@＝＋－＠'x"]), max_size=4)
            for name in COLUMNS
        }
    ),
    max_size=5,
)


@given(rows)
def test_csv_gives_every_cell_back_and_none_begins_a_formula(
    exported: list[dict[str, str]],
) -> None:
    text = "".join(as_csv(exported))
    heading, *lines = csv.reader(io.StringIO(text, newline=""))
    assert heading == list(COLUMNS)
    assert len(lines) == len(exported)
    for line, row in zip(lines, exported, strict=True):
        for cell, name in zip(line, COLUMNS, strict=True):
            shown = cell.lstrip("".join(map(chr, SPACES)))
            assert not shown.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
            assert not cell.startswith(("\t", "\r", "\n"))
            assert cell.removeprefix("'") == (row[name] or "").removeprefix("'") or cell == (
                f"'{row[name]}"
            )


@given(rows)
def test_json_gives_every_value_back(exported: list[dict[str, str]]) -> None:
    assert json.loads("".join(as_json(exported))) == exported


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("House", "House"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'quoted", "''quoted"),
        ("\n=1+1", "'\n=1+1"),
        ("  =1+1", "'  =1+1"),
        ("\u00a0\u200b=1+1", "'\u00a0\u200b=1+1"),
        ("＝1+1", "'＝1+1"),
        ("－1", "'－1"),
        ("\nHouse", "'\nHouse"),
        (" House = home", " House = home"),
        (12, "12"),
    ],
)
def test_a_cell_that_would_be_calculated_gets_an_apostrophe(value: object, cell: str) -> None:
    assert safe_cell(value) == cell
