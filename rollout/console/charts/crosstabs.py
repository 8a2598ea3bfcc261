"""An audit's crosstabs as pages show them: what mismatches first, the rest cut to a length."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rollout.engine.audit import CATEGORIES, MATCHED, MISMATCHED
from rollout.journal.labels import CATEGORIES as LABELS
from rollout.journal.labels import category_label
from rollout.models import AuditReport

MAX_PAIRS = 200
# Mismatching pairs, and new values, at first sight; spellings that are listed beside each.
MAX_WRONG = 12
MAX_RANKED = 12
MAX_SPELLINGS = 12


@dataclass(frozen=True)
class Share:
    """A category and how many of the rows are in it."""

    name: str
    rows: int

    @property
    def label(self) -> str:
        return category_label(self.name)

    @property
    def meaning(self) -> str:
        return LABELS.get(self.name, ("", ""))[1]

    @property
    def matched(self) -> bool:
        return self.name in MATCHED


@dataclass(frozen=True)
class Cell:
    """A pair of legacy value and new value, and how many rows have it."""

    legacy: str | None
    new: str | None
    rows: int
    share: Share
    place: str = ""
    """Which cell of the report it is, for an address."""


@dataclass(frozen=True)
class Ranked:
    """A new value with the legacy values that rightly have it.

    ``of`` are the crosstab's rows, ``most`` those of its most frequent value.
    """

    new: str | None
    rows: int
    exact: int
    cells: list[Cell]
    """The cells with the most rows."""
    spellings: int
    of: int
    most: int

    @property
    def more(self) -> int:
        return self.spellings - len(self.cells)

    @property
    def share(self) -> float:
        return self.rows / self.of if self.of else 0.0

    @property
    def widths(self) -> tuple[str, str]:
        """The bar of exact rows, and that of all rows, beside that of the most frequent value."""
        return f"{self.exact / self.most:.2%}", f"{self.rows / self.most:.2%}"


@dataclass(frozen=True)
class Crosstab:
    """One translation of ``table``; ``all_cells`` are every pair, ``cells`` those of the list.

    ``left_out`` counts the pairs that do not fit on the page, ``rows_left_out`` their rows.
    A translation without a lookup table compares an expression; it has categories and no pairs.
    """

    table: str
    column: str
    legacy_column: str
    lookup_table: str
    shares: list[Share]
    all_cells: list[Cell]
    cells: list[Cell]
    left_out: int
    rows_left_out: int

    @property
    def pairs(self) -> int:
        return len(self.all_cells)

    @property
    def mismatched(self) -> int:
        return sum(share.rows for share in self.shares if not share.matched)

    @property
    def rows(self) -> int:
        return sum(share.rows for share in self.shares)

    @property
    def wrong_shares(self) -> list[Share]:
        return [share for share in self.shares if not share.matched]

    @cached_property
    def wrong(self) -> list[Cell]:
        """The pairs that mismatch, the worst first."""
        return [cell for cell in self.all_cells if not cell.share.matched]

    @property
    def milder(self) -> list[Cell]:
        """Mismatching cells after the worst ones, as far as a page lists pairs."""
        return self.wrong[MAX_WRONG:MAX_PAIRS]

    @cached_property
    def right(self) -> list[Ranked]:
        """The new values of rows that match, those of most rows first."""
        by_new: dict[str | None, list[Cell]] = defaultdict(list)
        for cell in self.all_cells:
            if cell.share.matched:
                by_new[cell.new].append(cell)
        most = max((sum(c.rows for c in cells) for cells in by_new.values()), default=0)
        ranked = [_ranked(new, cells, self.rows, most) for new, cells in by_new.items()]
        return sorted(ranked, key=lambda r: -r.rows)[:MAX_PAIRS]

    @property
    def rarer(self) -> list[Ranked]:
        return self.right[MAX_RANKED:]

    @property
    def unmapped(self) -> int:
        """Rows whose text people have to decide on before a repair can write them."""
        return sum(share.rows for share in self.shares if share.name == "unmapped")


def shares(categories: dict[str, int]) -> list[Share]:
    """The categories of an audit, the worst first."""
    ordered = sorted(categories.items(), key=lambda item: -severity(item[0]))
    return [Share(name, rows) for name, rows in ordered]


def crosstabs(report: AuditReport) -> list[Crosstab]:
    """One for each translation of the report."""
    return [_crosstab(n, translation) for n, translation in enumerate(report.translations)]


def pairs_of(report: AuditReport) -> Iterator[dict[str, Any]]:
    """Every pair of a report, for a download."""
    for table in crosstabs(report):
        for cell in table.all_cells:
            yield {
                "table": table.table,
                "column": table.column,
                "legacy_column": table.legacy_column,
                "legacy": cell.legacy,
                "new": cell.new,
                "category": cell.share.name,
                "rows": cell.rows,
            }


PAIR_COLUMNS = ("table", "column", "legacy_column", "legacy", "new", "category", "rows")


def cell_at(report: AuditReport, place: str) -> dict[str, Any] | None:
    """The cell that an address names, with its translation's table and column; else None."""
    first, _, second = place.partition(".")
    if not (first.isdecimal() and second.isdecimal()):
        return None
    try:
        translation = report.translations[int(first)]
        return {
            **translation["cells"][int(second)],
            "column": translation["column"],
            "table": translation.get("table", ""),
        }
    except IndexError:
        return None


def _crosstab(number: int, translation: dict[str, Any]) -> Crosstab:
    pairs = translation["cells"] if translation["lookup_table"] else []
    cells = sorted(
        (
            Cell(
                pair["legacy"],
                pair["new"],
                pair["rows"],
                Share(pair["category"], pair["rows"]),
                f"{number}.{n}",
            )
            for n, pair in enumerate(pairs)
        ),
        key=lambda cell: (-severity(cell.share.name), -cell.rows),
    )
    return Crosstab(
        table=translation.get("table", ""),
        column=translation["column"],
        legacy_column=translation["legacy_column"],
        lookup_table=translation["lookup_table"],
        shares=shares(translation["categories"]),
        all_cells=cells,
        cells=cells[:MAX_PAIRS],
        left_out=len(cells[MAX_PAIRS:]),
        rows_left_out=sum(cell.rows for cell in cells[MAX_PAIRS:]),
    )


def _ranked(new: str | None, cells: list[Cell], of: int, most: int) -> Ranked:
    by_rows = sorted(cells, key=lambda cell: -cell.rows)
    return Ranked(
        new=new,
        rows=sum(cell.rows for cell in cells),
        exact=sum(cell.rows for cell in cells if cell.share.name == "ok"),
        cells=by_rows[:MAX_SPELLINGS],
        spellings=len(cells),
        of=of,
        most=most or 1,
    )


def severity(category: str) -> int:
    """How bad a category is, above -1 where it mismatches.

    A category that this version does not know sorts as the mildest mismatch."""
    known = category in CATEGORIES
    # Matches of every kind are one group, so that in it the most frequent pairs come first.
    return max(CATEGORIES.index(category) - CATEGORIES.index(MISMATCHED[0]), -1) if known else 0
