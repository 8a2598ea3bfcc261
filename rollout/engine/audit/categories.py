"""What a row can be, and what an audit found: plain values, without a connection."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from rollout.engine.conflicting_writes import ConflictingWrites

MATCHED = (
    *("both_null", "ok", "ok_normalized", "ok_mapped", "lossy", "unconvertible"),
    *("quarantined", "transient"),
)
MISMATCHED = (
    *("unmapped", "ambiguous", "inactive", "undecided", "missing"),
    *("unexpected", "computed_differs", "wrong", "orphan"),
)
# Mildest first: a row counts in the worst category among its translations.
#
# both_null         no legacy value, no new value
# ok                the lookup row has the legacy text; a derived value is as its expression says
# ok_normalized     the same but for white space and case
# ok_mapped         the mapping says so (a blank text and the row for blanks, for instance)
# lossy             as the conversion says, and the way back gives another spelling: the archive's
# unconvertible     does not convert; empty for good, as the plan says
# quarantined       not computed: the function has no answer, and the row is kept with its error
# transient         it differed in the snapshot and was right a moment later: a write in flight
# unmapped          the legacy text has no lookup row yet
# ambiguous         texts of the same normal form have different lookup rows
# inactive          the right lookup row, but one that is no longer in use
# undecided         does not convert, and nobody has corrected it: the new columns are empty; or
#                   the row of its key holds other values, and nobody has decided which
# missing           the mapping has a lookup row, the new column is null
# unexpected        a new value without a legacy value that it could come from
# computed_differs  another value than the expression or the function says
# wrong             another lookup row than the mapping says
# orphan            the lookup row does not exist
CATEGORIES = (*MATCHED, *MISMATCHED)
# Maximum of mismatching rows kept with a report; its counts have no such bound.
MAX_STORED_MISMATCHES = 10_000


def worst(categories: list[str]) -> str:
    """The category in which a row counts that is in all of these."""
    return max(categories, key=CATEGORIES.index)


@dataclass(frozen=True)
class Sample:
    """A number of rows, picked uniformly at random; the same seed picks the same rows."""

    rows: int
    seed: int


@dataclass(frozen=True)
class Cell:
    """One cell of a crosstab: a legacy value, a new value, and how many rows have both."""

    legacy: str | None
    new: str | None
    category: str
    rows: int


@dataclass
class TranslationResult:
    """What the audit found for one translation. The cells' rows add up to the table's."""

    table: str
    column: str
    legacy_column: str
    lookup_table: str
    cells: list[Cell]

    @property
    def categories(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for cell in self.cells:
            counts[cell.category] += cell.rows
        return dict(counts)


@dataclass(frozen=True)
class RowMismatch:
    """A row that is not as it should be, in one translation."""

    table: str
    key: str
    key_parts: list[str]
    column: str
    category: str
    legacy: str | None
    expected: str | None
    actual: str | None


@dataclass
class AuditResult:
    """A finished audit. ``inconclusive`` says why nothing could be compared, or is empty.

    ``by_table`` holds the rows of each category by the table's label; ``populations`` the rows that
    each table has in total, of which a sample has some and a full audit all.
    """

    inconclusive: str = ""
    by_table: dict[str, Counter[str]] = field(default_factory=dict)
    populations: dict[str, int] = field(default_factory=dict)
    translations: list[TranslationResult] = field(default_factory=list)
    mismatches: list[RowMismatch] = field(default_factory=list)
    snapshot: str = ""
    sql_digest: str = ""
    mapping_digest: str = ""
    mapping_values: int = 0
    """How many values, by normal form, the mappings have that were compared by."""
    mapping_reviewed: int = 0
    """On how many of them people have decided."""
    mapping_at: datetime | None = None
    """When they decided last."""
    authority: str = "legacy"
    """The side that was right: legacy, new, or archive where the legacy text is gone."""
    conflicting_writes: list[ConflictingWrites] = field(default_factory=list)

    @property
    def categories(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for of_table in self.by_table.values():
            counts.update(of_table)
        return {name: rows for name, rows in counts.items() if rows}

    @property
    def population(self) -> int:
        return sum(self.populations.values())

    @property
    def rows(self) -> int:
        return sum(self.categories.values())

    @property
    def mismatched(self) -> int:
        return sum(n for category, n in self.categories.items() if category in MISMATCHED)

    @property
    def matched(self) -> int:
        return self.rows - self.mismatched

    @property
    def transient(self) -> int:
        return self.categories.get("transient", 0)

    @property
    def all_stored(self) -> bool:
        """Whether every mismatch of every row is among ``mismatches``."""
        in_cells = sum(
            cell.rows
            for translation in self.translations
            for cell in translation.cells
            if cell.category in MISMATCHED
        )
        return in_cells == len(self.mismatches)
