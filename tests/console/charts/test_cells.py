"""Cells that are made without a template: whatever stands in the data, it stays text."""

from datetime import UTC, datetime

import pytest
from django.http import QueryDict

from rollout.console.charts import cells
from rollout.console.charts.crosstabs import Cell, Share
from rollout.console.charts.lines import Band
from rollout.console.charts.marks import Mark
from rollout.console.charts.matrices import Box, Row

HOSTILE = '"><script>alert(1)</script>'
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BAND = Band("0%", "10%")


def cell(rows: int = 1, category: str = "wrong") -> Cell:
    return Cell(HOSTILE, HOSTILE, rows, Share(category, rows), "0.0")


def row(*of: Cell) -> Row:
    box = Box()
    for of_box in of:
        box.put(of_box)
    return Row(HOSTILE, [box], Box(), sum(of_box.rows for of_box in of))


@pytest.mark.parametrize(
    "made",
    [
        cells.value(HOSTILE),
        cells.icon(HOSTILE),
        cells.category(Share(HOSTILE, 1)),
        cells.pairs([cell()], HOSTILE),
        cells.spellings([cell()], HOSTILE),
        cells.boxes(row(cell()), has_others=False, to=HOSTILE),
        cells.stretches([Mark(HOSTILE, BAND, "phase", AT, None)]),
        cells.moments([Mark(HOSTILE, BAND, "halt", AT, None, sign="paused")]),
        cells.in_lane([Mark(HOSTILE, BAND, "phase", AT, None)]),
        cells.rows_of_marks([Mark(HOSTILE, BAND, "phase", AT, None)]),
    ],
)
def test_a_text_of_the_data_is_never_markup(made: str) -> None:
    assert "script" in made
    assert "<script" not in made
    assert '">&lt;' not in made


def test_no_value_and_an_empty_text_are_told_apart() -> None:
    assert "NULL" in cells.value(None)
    assert "(empty string)" in cells.value("")


def test_a_box_counts_its_rows_and_names_its_worst_category() -> None:
    shown = cells.boxes(row(cell(2, "ok"), cell(3, "orphan")), has_others=False, to="?cell=")
    assert 'href="?cell=0.0#mismatches"' in shown
    assert ">5</a>" in shown
    assert " and others</span>" in shown
    assert cells.boxes(row(), has_others=True, to="?cell=") == "<td></td><td></td>"


def test_the_address_of_a_cell_keeps_the_filters_and_leaves_the_place_in_the_list_out() -> None:
    assert cells.to_cells(QueryDict("")) == "?cell="
    query = QueryDict("mode=full&cell=1.2&after=7&category=wrong&column=type")
    assert cells.to_cells(query) == "?mode=full&cell="
