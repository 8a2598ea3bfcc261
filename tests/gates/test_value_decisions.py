"""What waits for people about values that do not convert, before phase 2 and after it."""

import pytest

from rollout import gates
from rollout.gates import Evidence
from rollout.gates.value_decisions import undecided
from rollout.models import Rollout, RunState
from tests.support import rollouts
from tests.support.offers import offers

pytestmark = pytest.mark.usefixtures("committed_db", "own_plans")


def left(rollout: Rollout) -> str | None:
    gates.invalidate()
    return undecided(Evidence(rollout, 2))


def test_values_that_the_audit_of_phase_2_will_fail_for_are_counted_before_it_and_after_it() -> (
    None
):
    rollout = offers()
    rollouts.carry_out(rollout, 0, 1)
    assert left(rollout) == "2 values do not convert, in 3 rows"
    rollouts.work_off(rollouts.start(rollout, 2), RunState.FAILED)
    assert left(rollout) == "2 values do not convert, in 3 rows"
    rollouts.execute("UPDATE offer SET price = '1' WHERE id <> 9")
    assert left(rollout) == "1 value does not convert, in 1 row"
    rollouts.execute("UPDATE offer SET price = '1'")
    assert left(rollout) == ""


def test_values_that_cannot_be_read_are_not_said_to_be_decided() -> None:
    rollout = offers()
    rollouts.carry_out(rollout, 0, 1)
    rollouts.execute("ALTER TABLE offer RENAME TO offer_of_old")
    assert left(rollout) is None
