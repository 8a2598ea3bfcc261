"""Rows that a step of a phase would stumble over."""

from rollout.engine.target import Target
from tests.engine.preflight.runs import item, run


def test_a_question_that_cannot_be_asked_yet_is_unknown_and_says_when(target: Target) -> None:
    finding = item(run(target, 3), "nulls in things.kind_id")
    assert finding.level == "unknown"
    assert finding.evidence == "Cannot be checked yet: column t.kind_id does not exist."
