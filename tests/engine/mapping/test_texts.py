"""The texts of a legacy column, with their rows."""

from rollout.engine import mapping
from rollout.engine.target import Connection
from tests.engine.mappings import (
    KIND,
    PLAN,
    ROWS,
    name_of,
    new_texts,
    review_of,
)


def test_values_come_with_their_rows_the_most_frequent_first(unmapped: Connection) -> None:
    values = review_of(unmapped).values
    assert [(value.text, value.rows) for value in values][:2] == [
        ("House", 7),
        ("House for sale", 4),
    ]
    assert sum(value.rows or 0 for value in values) == sum(ROWS.values())


def test_new_texts_are_those_that_the_review_marks_as_new(mapped: Connection) -> None:
    for text in ("Castle", " castle", "HOUSE", "Tower", "WHG"):
        name_of(mapped, text)
    name_of(mapped, "Leased", column="state")
    number, texts = new_texts(mapped, KIND)
    marked = {value.normal for value in review_of(mapped).values if value.is_new}
    assert {text.text.strip().lower() for text in texts} == marked == {"castle", "tower", "whg"}
    counts = mapping.review_counts_of(mapped, PLAN, KIND)
    assert counts is not None
    assert (number, counts.new) == (len(marked), len(marked))


def test_a_text_newer_than_the_count_has_no_number(mapped: Connection) -> None:
    counts = mapping.counts_of(mapped, KIND, mapping.EVERY_TEXT)
    (counted_at,) = mapped.execute("SELECT clock_timestamp()").fetchone() or (None,)
    name_of(mapped, "Castle")
    review = mapping.review(mapped, PLAN, KIND, counts, counted_at=counted_at)
    assert {value.text: value.rows for value in review.values if value.is_new} == {"Castle": None}
