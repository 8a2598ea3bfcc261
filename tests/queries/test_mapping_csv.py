"""A mapping goes out as CSV and comes back decided, all of it or nothing."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.engine.mapping import Decision, Spelling, Value
from rollout.queries import mapping_csv
from rollout.queries.mapping_csv import InvalidMappingFile, Problem

VALUES = [
    Value("house", [Spelling("House", 5, "exact"), Spelling(" house", 2, "case")], "House"),
    Value("condo", [Spelling("Condo", 3, "decided")], "Flat", reviewer="grace"),
    Value("=1+1", [Spelling("=1+1", 1, "exact")], "=1+1"),
    Value("what", [Spelling("what", None, "unmapped")]),
    Value("never", [Spelling("never", 1, "no_value")]),
    Value("", [Spelling("", 9, "blank")], "Unspecified"),
]


def file(*lines: str, header: str = "legacy,lookup") -> bytes:
    return "\r\n".join([header, *lines]).encode()


def problems(data: bytes) -> list[Problem]:
    with pytest.raises(InvalidMappingFile) as refusal:
        mapping_csv.decisions_in(data, VALUES)
    return refusal.value.problems


def test_every_text_has_a_line_and_no_cell_is_a_formula() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(mapping_csv.lines_of(VALUES)))))
    assert [row["legacy"] for row in rows][:4] == ["House", " house", "Condo", "'=1+1"]
    assert [row["lookup"] for row in rows][3:] == ["'=1+1", "", "(no value)", "Unspecified"]
    assert rows[0] == {
        "legacy": "House",
        "rows": "5",
        "lookup": "House",
        "why": "exact",
        "decided_by": "",
    }
    assert rows[4]["rows"] == ""


def test_unchanged_file_decides_nothing() -> None:
    assert mapping_csv.decisions_in("".join(mapping_csv.lines_of(VALUES)).encode(), VALUES) == {}


def test_changed_lines_are_decided() -> None:
    data = file("House,Home", "Condo,(plan default)", "never,Once", "what,(no value)")
    assert mapping_csv.decisions_in(data, VALUES) == {
        "House": Decision("Home"),
        "Condo": Decision(by_default=True),
        "never": Decision("Once"),
        "what": Decision(None),
    }


def test_a_spreadsheets_ways_are_understood() -> None:
    expected = {"House": Decision("Home")}
    assert mapping_csv.decisions_in(b"\xef\xbb\xbf" + file("House,Home"), VALUES) == expected
    semicolons = file("Home;House", header="Lookup;LEGACY")
    assert mapping_csv.decisions_in(semicolons, VALUES) == expected
    assert mapping_csv.decisions_in(file("'=1+1,Two"), VALUES) == {"=1+1": Decision("Two")}


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (file("House,Home", "Castle,Home"), 3, "No row has the value “Castle”"),
        (file("House,Home", " house,Flat"), 3, "differs from the value of line 2"),
        (file("House,Home", "House,Flat"), 3, "“House” stands in line 2 too. Remove one"),
        (file(",Something"), 2, "set by the plan"),
        (file("House"), 2, "1 cells, but the header has 2"),
        (file("a,b", header="text,name"), 1, "lacks legacy and lookup"),
        (b"", 1, "lacks legacy and lookup"),
        (file('"House,Home'), 2, "Not a CSV file"),
        (file("House,H\x00me"), 2, "NUL"),
        (file("Condo,Flat", "House,").replace(b"House", b"H\xffuse"), 3, "Not UTF-8 text"),
        (b"x" * 5_000_001, 1, "larger than 5 MB. Split it: the decisions of several files add up."),
    ],
)
def test_wrong_lines_are_named_and_nothing_is_read(data: bytes, line: int, words: str) -> None:
    wrong = problems(data)
    assert wrong[0].line == line
    assert words in wrong[0].message


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    assert problems(file('"House\r\n",Home', "Castle,x"))[1].line == 4


def test_first_of_very_many_problems_are_named() -> None:
    with pytest.raises(InvalidMappingFile) as refusal:
        mapping_csv.decisions_in(file(*(f"castle {n},x" for n in range(60))), VALUES)
    assert (len(refusal.value.problems), refusal.value.more) == (50, 10)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1))
def test_any_text_comes_back_as_it_went_out(text: str) -> None:
    values = [Value("form", [Spelling(text, 1, "exact")], "Name")]
    lines = "".join(mapping_csv.lines_of(values)).replace(",Name,", ",Other,")
    assert mapping_csv.decisions_in(lines.encode(), values) == {text: Decision("Other")}
