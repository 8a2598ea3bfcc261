"""Rehearsals that are refused."""

import pytest

from rollout import runner
from rollout.models import (
    Rollout,
    Snapshot,
)
from tests.console.journal import taken
from tests.support.rollouts import ADA


def test_a_missing_or_mid_phase_snapshot_is_refused(rollout: Rollout) -> None:
    with pytest.raises(runner.Refused, match="Take one first"):
        runner.rehearse(rollout, actor=ADA)
    taken(rollout, phases=["done", "begun", "untouched", "untouched", "untouched"])
    with pytest.raises(runner.Refused, match="was taken during a phase"):
        runner.rehearse(rollout, actor=ADA)
    Snapshot.objects.update(phases=["done"] * 5)
    with pytest.raises(runner.Refused, match="already has every phase applied"):
        runner.rehearse(rollout, actor=ADA)
