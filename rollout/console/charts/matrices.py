"""A crosstab as a matrix: legacy values down, new values across, what mismatches first."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollout.console.charts.crosstabs import Cell, severity

MAX_ROWS = 40
MAX_COLUMNS = 10


@dataclass
class Box:
    """Where a legacy value meets a new value, or all that have no column of their own."""

    rows: int = 0
    bad: int = 0
    """Rows of it that mismatch."""
    cells: list[Cell] = field(default_factory=list)
    """The worst first."""

    def put(self, cell: Cell) -> None:
        self.rows += cell.rows
        self.bad += 0 if cell.share.matched else cell.rows
        self.cells.append(cell)
        self.cells.sort(key=lambda c: -severity(c.share.name))

    @property
    def worst(self) -> Cell | None:
        return self.cells[0] if self.cells else None


@dataclass(frozen=True)
class Row:
    """A legacy value: its boxes by column, those of all other columns together, and its rows."""

    legacy: str | None
    boxes: list[Box]
    others: Box
    rows: int


@dataclass(frozen=True)
class Matrix:
    """What fits on a page; the rest is counted."""

    columns: list[str | None]
    rows: list[Row]
    has_others: bool
    left_out: int
    """Legacy values that have no row of their own."""
    rows_left_out: int
    """How many rows of the table those have."""


def matrix_of(cells: Sequence[Cell]) -> Matrix:
    """The matrix of a crosstab's cells."""
    by_legacy: dict[str | None, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_legacy[cell.legacy].append(cell)
    values = sorted(by_legacy, key=lambda legacy: _weight(by_legacy[legacy]), reverse=True)
    shown, hidden = values[:MAX_ROWS], values[MAX_ROWS:]
    by_new: dict[str | None, list[Cell]] = defaultdict(list)
    for legacy in shown:
        for cell in by_legacy[legacy]:
            by_new[cell.new].append(cell)
    news = sorted(by_new, key=lambda new: _weight(by_new[new]), reverse=True)
    place = {new: number for number, new in enumerate(news[:MAX_COLUMNS])}
    rows = [_row(legacy, by_legacy[legacy], place) for legacy in shown]
    bad = [row for row in rows if row.others.bad or any(box.bad for box in row.boxes)]
    good = [row for row in rows if row not in bad]
    # Spellings of one value stand below each other.
    good.sort(key=lambda row: next((n for n, box in enumerate(row.boxes) if box.rows), len(place)))
    return Matrix(
        columns=list(place),
        rows=bad + good,
        has_others=len(news) > MAX_COLUMNS,
        left_out=len(hidden),
        rows_left_out=sum(cell.rows for legacy in hidden for cell in by_legacy[legacy]),
    )


def _row(legacy: str | None, cells: Sequence[Cell], place: dict[str | None, int]) -> Row:
    boxes = [Box() for _ in place]
    others = Box()
    for cell in cells:
        number = place.get(cell.new)
        (others if number is None else boxes[number]).put(cell)
    return Row(legacy, boxes, others, sum(cell.rows for cell in cells))


def _weight(cells: Sequence[Cell]) -> tuple[int, int, int]:
    """How worst its category is, how many rows mismatch, how many there are."""
    return (
        max(severity(cell.share.name) for cell in cells),
        sum(cell.rows for cell in cells if not cell.share.matched),
        sum(cell.rows for cell in cells),
    )
