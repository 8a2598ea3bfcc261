"""Snapshots that people ask for: one at a time, cancelled, or refused."""

import pytest

from rollout import runner
from rollout.models import LogEntry, PhaseRun, Rollout, RunState, Snapshot, SnapshotState
from rollout.notifications.kinds import kind_of
from tests.support import rollouts
from tests.support.rollouts import ADA, Person
from tests.support.storages import stored
from tests.worker.taken_snapshots import taken

pytestmark = pytest.mark.usefixtures("clean_storage")


def test_snapshots_run_singly_and_never_beside_a_running_phase(properties: Rollout) -> None:
    snapshot = runner.take_snapshot(properties, actor=ADA)
    with pytest.raises(runner.Refused, match=f"ada's snapshot {snapshot.pk} is in progress"):
        runner.take_snapshot(properties, actor=ADA)
    with pytest.raises(runner.Refused, match="is still in progress"):
        runner.delete_snapshot(snapshot, actor=ADA)
    Snapshot.objects.all().delete()
    run = runner.start(properties, 0, actor=ADA)
    with pytest.raises(runner.Refused, match="Wait for it to end, or pause it"):
        runner.take_snapshot(properties, actor=ADA)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.PAUSED)
    runner.take_snapshot(properties, actor=ADA)


def test_a_pending_snapshot_is_cancelled(properties: Rollout) -> None:
    snapshot = runner.take_snapshot(properties, actor=ADA)
    runner.cancel_snapshot(snapshot, actor=Person("grace"))
    with pytest.raises(runner.Refused, match="is being cancelled"):
        runner.cancel_snapshot(snapshot, actor=ADA)
    rollouts.work()
    with pytest.raises(runner.Refused, match="nothing to cancel"):
        runner.cancel_snapshot(snapshot, actor=ADA)
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.storage_name, stored()) == (SnapshotState.CANCELLED, "", [])
    assert LogEntry.objects.get(event="snapshot cancel asked for").actor == "grace"
    ended = LogEntry.objects.get(event="snapshot cancelled")
    assert (ended.actor, kind_of(ended)) == ("grace", "failed"), "by who cancelled it"
    assert taken(properties).state == SnapshotState.VERIFIED


def test_a_deleted_snapshot_is_neither_verified_nor_deleted_again(properties: Rollout) -> None:
    snapshot = taken(properties)
    runner.delete_snapshot(snapshot, actor=ADA)
    assert stored() == []
    with pytest.raises(runner.Refused, match="already deleted"):
        runner.delete_snapshot(snapshot, actor=ADA)
    with pytest.raises(runner.Refused, match="has no dump to verify"):
        runner.verify_snapshot(snapshot, actor=ADA)


def test_a_database_without_the_plans_tables_has_nothing_to_take(properties: Rollout) -> None:
    rollouts.execute("DROP TABLE property_images")
    snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "Tables not found: property_images" in snapshot.error
