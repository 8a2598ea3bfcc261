"""What an audit found adds up, and every row counts in its worst category."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rollout.engine.audit.categories import (
    CATEGORIES,
    MATCHED,
    MISMATCHED,
    AuditResult,
    Cell,
    RowMismatch,
    TranslationResult,
    worst,
)

names = st.sampled_from(CATEGORIES)
counts = st.dictionaries(names, st.integers(0, 9))


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), counts))
def test_matched_and_mismatched_rows_of_all_tables_add_up(
    tables: dict[str, dict[str, int]],
) -> None:
    result = AuditResult(by_table={table: Counter(of) for table, of in tables.items()})
    assert result.matched + result.mismatched == result.rows == sum(result.categories.values())
    assert result.matched == sum(result.categories.get(name, 0) for name in MATCHED)
    assert all(result.categories.values()), "no category without a row is named"


@given(st.lists(names, min_size=1))
def test_a_row_counts_in_the_worst_category_of_its_translations(of_row: list[str]) -> None:
    category = worst(of_row)
    assert category in of_row
    assert max(map(CATEGORIES.index, of_row)) == CATEGORIES.index(category)
    assert (category in MISMATCHED) == any(name in MISMATCHED for name in of_row)


def test_every_mismatch_is_stored_once_each_translation_of_each_row_has_one() -> None:
    cells = [Cell("Loft", "House", "wrong", 2), Cell("House", "House", "ok", 5)]
    translation = TranslationResult("t", "kind_id", "kind", "kinds", cells)
    mismatches = [
        RowMismatch("t", key, [key], "kind_id", "wrong", "Loft", "Loft", "House") for key in "12"
    ]
    assert translation.categories == {"wrong": 2, "ok": 5}
    assert AuditResult(translations=[translation], mismatches=mismatches).all_stored
    assert not AuditResult(translations=[translation], mismatches=mismatches[:1]).all_stored
