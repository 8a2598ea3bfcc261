"""Sentences name moments in one way: to the second, in UTC, so that pages can translate them."""

import re
from datetime import UTC, datetime

from config.home import ROOT
from rollout.journal.moments import IN_TEXT, in_words

# Where moments are formatted for a page, a machine or a zone of their own.
OTHERS = {"moments.py", "formats.py"}
BY_HAND = re.compile(r"%H:%M(:%S)?\}? UTC|%H:%M(:%S)?\} UTC")


def test_moments_in_sentences_are_read_as_they_are_written() -> None:
    text = f"It ended at {in_words(datetime(2026, 11, 29, 10, 7, 41, 9, tzinfo=UTC))}."
    assert text == "It ended at 2026-11-29 10:07:41 UTC."
    assert IN_TEXT.findall(text) == ["2026-11-29 10:07:41"]


def test_no_sentence_formats_a_moment_by_itself() -> None:
    astray = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rollout").rglob("*.py")
        if path.name not in OTHERS
        and "models" not in path.parts
        and BY_HAND.search(path.read_text())
    }
    assert astray == set(), "use rollout.journal.moments.in_words"
