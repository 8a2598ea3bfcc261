"""Rows that a step of a phase would stumble over."""

import pytest

from rollout import plan as r
from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.preflight.runs import PLAN, done_until, item, run
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT


def test_a_question_that_cannot_be_asked_yet_is_unknown_and_says_when(target: Target) -> None:
    finding = item(run(target, 3), "nulls in things.kind_id")
    assert finding.level == "unknown"
    assert finding.evidence == "Cannot be checked yet: column t.kind_id does not exist."
