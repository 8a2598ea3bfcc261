"""What a restore is refused for, and how one that waits for its approval ends."""

from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from rollout import runner
from rollout.models import (
    LogEntry,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    SnapshotState,
)
from rollout.notifications.kinds import kind_of
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.worker.test_restores import refusal, restore

pytestmark = pytest.mark.usefixtures("clean_storage")


def test_an_approval_comes_too_late_after_an_hour_and_a_restore_that_waits_is_cancelled(
    properties: Rollout,
) -> None:
    snapshot = rollouts.record_snapshot(properties)
    asked = restore(snapshot, properties, replace=True, reason="To see.")
    Restore.objects.update(created_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(runner.Refused, match="more than an hour old"):
        runner.approve_restore(asked, actor=rollouts.person("bob"))
    with pytest.raises(runner.Refused, match=r"restore of snapshot .* is in progress there"):
        restore(snapshot, properties, replace=True, reason="To see.")
    runner.cancel_restore(asked, actor=ADA)
    assert asked.state == RestoreState.CANCELLED
    assert [kind_of(entry) for entry in LogEntry.objects.all()[:2]] == ["failed", "other"]
    with pytest.raises(runner.Refused, match="nothing to cancel"):
        runner.cancel_restore(asked, actor=ADA)


def test_an_environment_that_is_productions_database_under_another_name_is_refused(
    properties: Rollout, empty_staging: Rollout
) -> None:
    snapshot = rollouts.record_snapshot(properties)
    connections["staging"].close()
    del connections["staging"]
    connections.databases["staging"]["NAME"] = connections["default"].settings_dict["NAME"]
    assert "staging points to the same database as production" in refusal(snapshot, empty_staging)


@pytest.mark.parametrize("state", [s for s in SnapshotState if s != SnapshotState.VERIFIED])
def test_only_a_verified_snapshot_is_restored(
    properties: Rollout, empty_staging: Rollout, state: SnapshotState
) -> None:
    snapshot = rollouts.record_snapshot(properties)
    snapshot.state = state
    assert "Only a verified snapshot can be restored" in refusal(snapshot, empty_staging)


def test_an_environment_in_which_a_phase_is_at_work_is_left_alone(
    properties: Rollout, empty_staging: Rollout
) -> None:
    snapshot = rollouts.record_snapshot(properties)
    PhaseRun.objects.create(
        rollout=empty_staging, phase=0, state=RunState.RUNNING, actor_name="bob", plan_digest="x"
    )
    assert "bob's phase 0 is running" in refusal(snapshot, empty_staging)
