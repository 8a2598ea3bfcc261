from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.console.charts.crosstabs import Cell, Share
from rollout.console.charts.matrices import MAX_COLUMNS, MAX_ROWS, matrix_of
from rollout.engine.audit import CATEGORIES, MISMATCHED


def cell(legacy: str | None, new: str | None, category: str, rows: int) -> Cell:
    return Cell(legacy, new, rows, Share(category, rows))


SLOWLY = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
CELLS = st.lists(
    st.builds(
        cell,
        st.none() | st.integers(0, 60).map(str),
        st.none() | st.integers(0, 15).map(str),
        st.sampled_from(CATEGORIES),
        st.integers(1, 1000),
    ),
    max_size=60,
    unique_by=lambda c: (c.legacy, c.new, c.share.name),
)


@SLOWLY
@given(CELLS)
def test_every_row_of_the_table_is_in_a_box_or_counted_as_left_out(cells: list[Cell]) -> None:
    matrix = matrix_of(cells)
    boxes = [box for row in matrix.rows for box in (*row.boxes, row.others)]
    assert sum(box.rows for box in boxes) + matrix.rows_left_out == sum(c.rows for c in cells)
    assert len({row.legacy for row in matrix.rows}) + matrix.left_out == len(
        {c.legacy for c in cells}
    )
    assert len(matrix.rows) <= MAX_ROWS
    assert len(matrix.columns) <= MAX_COLUMNS
    for row in matrix.rows:
        assert len(row.boxes) == len(matrix.columns)
        assert matrix.has_others or not row.others.rows


@SLOWLY
@given(CELLS)
def test_legacy_values_that_mismatch_come_first_and_are_left_out_last(cells: list[Cell]) -> None:
    matrix = matrix_of(cells)
    bad = [row.others.bad + sum(box.bad for box in row.boxes) > 0 for row in matrix.rows]
    assert bad == sorted(bad, reverse=True)
    mismatched = {c.legacy for c in cells if c.share.name in MISMATCHED}
    if len(mismatched) <= MAX_ROWS:
        assert {row.legacy for row, is_bad in zip(matrix.rows, bad, strict=True) if is_bad} == (
            mismatched
        )


def test_spellings_of_one_value_stand_below_each_other_and_the_worst_cell_is_named() -> None:
    matrix = matrix_of(
        [
            cell("House", "House", "ok", 90),
            cell("Loft", "Loft", "ok", 50),
            cell(" house", "House", "ok_normalized", 3),
            cell("House", "Loft", "wrong", 1),
            cell("House", "Loft", "transient", 2),
        ]
    )
    assert matrix.columns == ["Loft", "House"]
    assert [row.legacy for row in matrix.rows] == ["House", "Loft", " house"]
    assert [box.rows for box in matrix.rows[0].boxes] == [3, 90]
    worst = matrix.rows[0].boxes[0].worst
    assert worst is not None
    assert (worst.share.name, matrix.rows[0].boxes[0].bad) == ("wrong", 1)
