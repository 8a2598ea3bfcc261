"""Snapshots that are killed, cancelled or cut off on the way."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal.heartbeats import WORKER
from rollout.models import Heartbeat, Rollout, Snapshot, SnapshotState
from rollout.watchdog.loop import Watchdog
from rollout.worker import snapshots
from rollout.worker.leases import take_back
from tests.support import rollouts
from tests.support.processes import PATIENCE, manage_process, stopped_after, wait_until
from tests.support.programs import HeldUp, held_up
from tests.support.rollouts import ADA, PLAN
from tests.support.servers import Database
from tests.support.storages import stored
from tests.worker.taken_snapshots import scratch_databases, taken, time_passes

pytestmark = pytest.mark.usefixtures("clean_storage")


def test_a_table_that_is_locked_for_long_ends_it_with_a_word_on_it(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.engine.snapshot import dump

    monkeypatch.setattr(dump, "LOCK_TIMEOUT_MS", 200)
    with rollouts.locked("LOCK TABLE property_images"):
        snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "lock timeout" in snapshot.error


@pytest.fixture(params=["pg_dump", "pg_restore"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> HeldUp:
    """Programs that are held up in the middle of the dump, or of restoring it."""
    when = "--snapshot" if request.param == "pg_dump" else "--section=data"
    return held_up(tmp_path, name=request.param, when=when)


def test_a_worker_killed_half_way_leaves_nothing_that_counts_and_another_continues(
    held: HeldUp, properties: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    with stopped_after(
        manage_process(
            *("rollout", "snapshot", PLAN),
            env=committed_db.env(PG_BIN=str(held.directory)),
            log=tmp_path / "log",
        )
    ) as worker:
        worker.wait_for(lambda: held.waits)
        snapshot = Snapshot.objects.get()
        worker.stop(signal.SIGKILL)
    dumping = snapshot.state == SnapshotState.TAKING
    # A dump's file is there from its first bytes on.
    suffixes = [path.suffix for path in stored()]
    assert suffixes in ([[], [".part"]] if dumping else [[".dump"]])
    assert (snapshot.sha256 == "") == dumping
    assert len(scratch_databases(snapshot)) == (0 if dumping else 1)
    time_passes(snapshot)
    Heartbeat.objects.create(name="another", kind=WORKER, seen_at=timezone.now())
    Watchdog().look()
    rollouts.work()
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.error) == (SnapshotState.VERIFIED, "")
    assert [path.suffix for path in stored()] == [".dump"]
    assert scratch_databases(snapshot) == []


def taken_until_held(
    held: HeldUp, properties: Rollout, pg_bin: Any
) -> tuple[Snapshot, threading.Thread]:
    """A snapshot of which a program waits, and the worker that takes it."""
    pg_bin(held.directory)
    snapshot = runner.take_snapshot(properties, actor=ADA)
    (message,) = rollouts.queued()
    worker = threading.Thread(target=message.deliver)
    worker.start()
    wait_until(lambda: held.waits)
    snapshot.refresh_from_db()
    return snapshot, worker


def test_a_snapshot_cancelled_in_the_middle_stops_there(
    held: HeldUp, properties: Rollout, pg_bin: Any
) -> None:
    snapshot, worker = taken_until_held(held, properties, pg_bin)
    dumping = snapshot.state == SnapshotState.TAKING
    runner.cancel_snapshot(snapshot, actor=ADA)
    worker.join(PATIENCE)
    assert not worker.is_alive()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.CANCELLED
    assert [path.suffix for path in stored()] == ([] if dumping else [".dump"])
    assert ("Verify its dump" in snapshot.advice) == (not dumping)
    assert scratch_databases(snapshot) == []
    held.let_go()
    assert taken(properties).state == SnapshotState.VERIFIED


def test_a_worker_that_lost_its_lease_stops_and_takes_its_part_away(
    held: HeldUp, properties: Rollout, pg_bin: Any
) -> None:
    snapshot, worker = taken_until_held(held, properties, pg_bin)
    before = snapshot.state
    assert take_back(snapshot)
    worker.join(PATIENCE)
    assert not worker.is_alive()
    snapshot.refresh_from_db()
    assert snapshot.state == before
    assert [path.suffix for path in stored()] == (
        [] if before == SnapshotState.TAKING else [".dump"]
    )
    assert scratch_databases(snapshot) == []
    held.let_go()
    snapshots.SnapshotJob.carry_out(snapshot.pk, snapshot.token)
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.VERIFIED


def test_a_dump_whose_session_is_ended_fails_and_leaves_nothing(
    properties: Rollout, pg_bin: Any, tmp_path: Path
) -> None:
    held = held_up(tmp_path, name="pg_dump", when="--snapshot")
    real = (tmp_path / "pg_dump").read_text()
    (tmp_path / "pg_dump").write_text(real.replace("tail -c +2001", "exit 1 # "))
    pg_bin(held.directory)

    def let_it_end() -> None:
        wait_until(lambda: held.waits)
        held.let_go()

    other = threading.Thread(target=let_it_end)
    other.start()
    snapshot = taken(properties)
    other.join()
    assert snapshot.state == SnapshotState.FAILED
    assert "pg_dump failed" in snapshot.error
    assert snapshot.storage_name == ""
    assert stored() == []


def test_a_snapshot_that_kills_every_worker_fails_in_the_end(properties: Rollout) -> None:
    snapshot = runner.take_snapshot(properties, actor=ADA)
    Snapshot.objects.filter(pk=snapshot.pk).update(attempts=snapshots.SnapshotJob.max_attempts)
    rollouts.work()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert "3 workers crashed during the snapshot" in snapshot.error


def test_a_database_that_is_away_is_called_so(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.engine.target import Target

    gone = Target({"host": "/nowhere", "dbname": "gone"})
    monkeypatch.setattr(snapshots, "target_of", lambda _environment: gone)
    snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "connection lost" in snapshot.error
