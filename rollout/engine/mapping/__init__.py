"""The review of a mapping: what legacy texts there are, what each means, and changing that.

Decisions are about normal forms: spellings that differ in case or white space alone go together.
"""

from rollout.engine.mapping.decisions import CannotDecide, Change, Decision, MappingLocked, Outcome
from rollout.engine.mapping.review_counts import ReviewCounts, review_counts_of
from rollout.engine.mapping.reviews import (
    NewText,
    Review,
    Spelling,
    Value,
    new_texts,
    review,
    version_of,
)
from rollout.engine.mapping.texts import (
    COUNT_SECONDS,
    EVERY_TEXT,
    counts_of,
    is_mapped,
    normal_forms,
    sample_of,
    values_with,
)
from rollout.engine.mapping.transactions import decide

__all__ = [
    "COUNT_SECONDS",
    "EVERY_TEXT",
    "CannotDecide",
    "Change",
    "Decision",
    "MappingLocked",
    "NewText",
    "Outcome",
    "Review",
    "ReviewCounts",
    "Spelling",
    "Value",
    "counts_of",
    "decide",
    "is_mapped",
    "new_texts",
    "normal_forms",
    "review",
    "review_counts_of",
    "sample_of",
    "values_with",
    "version_of",
]
