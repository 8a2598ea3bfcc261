"""The gate before a phase that needs a snapshot: fresh, newer than what was changed, verified."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import gates
from rollout.gates.registry import Status
from rollout.models import PhaseRun, Rollout, RunState, Snapshot, SnapshotState, StepRun
from rollout.plan import SnapshotVerified, plans
from tests.support import rollouts

NOW = timezone.now()
MINUTE = timedelta(minutes=1)
GATE = SnapshotVerified(fresh_for=timedelta(hours=1))


def phase_done(rollout: Rollout, phase: int, at: timedelta) -> PhaseRun:
    return PhaseRun.objects.create(
        rollout=rollout, phase=phase, state=RunState.DONE, actor_name="ada", finished_at=NOW + at
    )


def snapshot(
    rollout: Rollout, at: timedelta, state: SnapshotState = SnapshotState.VERIFIED
) -> Snapshot:
    return Snapshot.objects.create(
        rollout=rollout,
        state=state,
        taken_at=NOW + at,
        actor_name="ada",
        counts={"properties": 1200, "property_images": 34},
    )


def answer(rollout: Rollout, number: int = 3) -> tuple[Status, str]:
    given = gates.check_gate(GATE, gates.Evidence(rollout, number))
    return given.status, given.message


def test_the_shipped_plan_asks_for_one_before_the_phases_that_take_something_away() -> None:
    plan = plans.get(rollouts.PLAN)
    asking = [number for number in range(5) if SnapshotVerified() in plan.gates_of(number)]
    assert asking == [3, 4]


def test_no_snapshot_is_pending_and_says_what_to_do(rollout: Rollout) -> None:
    assert answer(rollout) == ("pending", "No verified snapshot. Take one.")


def test_a_verified_snapshot_after_the_phase_before_passes_with_its_evidence(
    rollout: Rollout,
) -> None:
    phase_done(rollout, 2, -10 * MINUTE)
    taken = snapshot(rollout, -MINUTE)
    status, message = answer(rollout)
    assert status == "pass"
    assert f"Snapshot {taken.pk} of " in message
    assert "1,234 rows in 2 tables" in message


def test_a_snapshot_from_before_the_end_of_the_previous_phase_is_pending(rollout: Rollout) -> None:
    snapshot(rollout, -2 * MINUTE)
    phase_done(rollout, 2, -MINUTE)
    status, message = answer(rollout)
    assert status == "pending"
    assert "is older than the end of phase 2. Take another." in message


def test_a_snapshot_from_before_a_change_of_the_write_path_is_pending(rollout: Rollout) -> None:
    run = phase_done(rollout, 2, -10 * MINUTE)
    snapshot(rollout, -2 * MINUTE)
    StepRun.objects.create(
        run=run,
        step="write-both",
        position=0,
        state="done",
        started_at=NOW - 3 * MINUTE,
        finished_at=NOW - MINUTE,
    )
    status, message = answer(rollout)
    assert status == "pending"
    assert "is older than step “Switch application to dual write”" in message


@pytest.mark.parametrize(("minutes", "status"), [(30, "pass"), (61, "pending")])
def test_a_snapshot_older_than_the_plan_allows_is_pending(
    rollout: Rollout, minutes: int, status: str
) -> None:
    phase_done(rollout, 2, timedelta(hours=-2))
    snapshot(rollout, -minutes * MINUTE)
    outcome, message = answer(rollout)
    assert outcome == status
    assert ("older than the 1 h that the plan allows" in message) == (status == "pending")


@pytest.mark.parametrize("state", [s for s in SnapshotState if s != SnapshotState.VERIFIED])
def test_only_a_verified_snapshot_passes(rollout: Rollout, state: SnapshotState) -> None:
    phase_done(rollout, 2, -10 * MINUTE)
    snapshot(rollout, -MINUTE, state)
    assert answer(rollout)[0] != "pass"


def test_a_running_snapshot_is_pending_and_a_failed_one_says_why(rollout: Rollout) -> None:
    taken = snapshot(rollout, -MINUTE, SnapshotState.VERIFYING)
    assert answer(rollout) == (
        "pending",
        f"Snapshot {taken.pk} is being verified. Wait until that has finished.",
    )
    Snapshot.objects.update(
        state=SnapshotState.FAILED, error="The storage is full.", advice="Free space there."
    )
    assert answer(rollout) == (
        "fail",
        f"Snapshot {taken.pk} failed: The storage is full. Free space there.",
    )


def test_a_failed_snapshot_does_not_hide_the_verified_one_before_it(rollout: Rollout) -> None:
    phase_done(rollout, 2, -10 * MINUTE)
    snapshot(rollout, -2 * MINUTE)
    snapshot(rollout, -MINUTE, SnapshotState.FAILED)
    assert answer(rollout)[0] == "pass"


def test_a_snapshot_of_another_environment_does_not_count(rollout: Rollout) -> None:
    phase_done(rollout, 2, -10 * MINUTE)
    snapshot(Rollout.objects.create(plan=rollout.plan, environment="staging"), -MINUTE)
    assert answer(rollout)[0] == "pending"
