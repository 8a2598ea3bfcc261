"""Snapshots: only one that was restored and compared counts, whatever went wrong on the way."""

import errno
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from rollout import runner
from rollout.models import LogEntry, Rollout, Snapshot, SnapshotState
from rollout.watchdog.loop import Watchdog
from rollout.worker import dump_storage, snapshots
from tests.support import rollouts
from tests.support.programs import of_version
from tests.support.rollouts import ADA
from tests.support.storages import stored
from tests.support.writers import Writer
from tests.worker.taken_snapshots import scratch_databases, taken

pytestmark = pytest.mark.usefixtures("clean_storage")


def test_a_snapshot_is_verified_and_says_where_it_comes_from(filled: Rollout) -> None:
    snapshot = taken(filled)
    assert (snapshot.state, snapshot.error, snapshot.activity) == (SnapshotState.VERIFIED, "", "")
    (path,) = stored()
    assert dump_storage.storage().path(snapshot.storage_name) == str(path)
    assert path.stat().st_size == snapshot.size > 1000
    assert len(snapshot.sha256) == 64
    assert snapshot.counts["properties"] == 300
    assert {"property_types", "rollout.modes"} < set(snapshot.counts)
    assert any(table.endswith("_type_mapping") for table in snapshot.counts)
    assert snapshot.restored_counts == snapshot.counts
    assert sum(cell["rows"] for cell in snapshot.crosstabs[0]["cells"]) == 300
    assert any("TABLE DATA public properties" in line for line in snapshot.contents)
    assert snapshot.phases == ["done", "done", "done", "untouched", "untouched"]
    assert snapshot.run is not None
    assert snapshot.run.phase == 2
    assert snapshot.taken_at is not None
    assert snapshot.expires_at == snapshot.taken_at + timedelta(days=30)
    for fact in (snapshot.lsn, snapshot.exported_snapshot, snapshot.system_identifier):
        assert fact
    assert snapshot.server_version.startswith("18")
    assert snapshot.dump_version.startswith("18")
    assert scratch_databases(snapshot) == []
    events = LogEntry.objects.filter(event__startswith="snapshot").values_list("event", flat=True)
    assert list(events) == ["snapshot verified", "snapshot taken", "snapshot asked for"]


def test_counts_and_pairs_are_those_of_the_dump_while_the_application_writes(
    filled: Rollout,
) -> None:
    writer = Writer(pause=0)
    writer.start()
    try:
        for _ in range(2):
            snapshot = taken(filled)
            assert (snapshot.state, snapshot.error) == (SnapshotState.VERIFIED, "")
    finally:
        writer.stop()
    assert writer.errors == []
    assert sum(writer.writes.values()) > 20
    assert snapshot.counts["properties"] > 300


def test_a_message_delivered_twice_takes_one_snapshot(properties: Rollout) -> None:
    runner.take_snapshot(properties, actor=ADA)
    (message,) = rollouts.queued()
    message.deliver()
    message.deliver()
    assert len(stored()) == 1
    assert LogEntry.objects.filter(event="snapshot taken").count() == 1


def test_a_dump_that_somebody_changed_fails_verification(properties: Rollout) -> None:
    snapshot = taken(properties)
    (path,) = stored()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    runner.verify_snapshot(snapshot, actor=ADA)
    rollouts.work()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert "Dump checksum mismatch" in snapshot.error
    assert "The file changed after it was written" in snapshot.advice


def test_a_dump_without_some_rows_fails_verification_though_its_hash_is_right(
    properties: Rollout,
) -> None:
    snapshot = taken(properties)
    counts = {**snapshot.counts, "properties": 301}
    Snapshot.objects.filter(pk=snapshot.pk).update(counts=counts)
    runner.verify_snapshot(snapshot, actor=ADA)
    rollouts.work()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert snapshot.differences == ["properties: 300 rows instead of 301."]
    assert snapshot.restored_counts["properties"] == 300
    assert scratch_databases(snapshot) == []


def test_a_good_dump_that_could_not_be_verified_is_verified_later(
    properties: Rollout, pg_bin: Any, tmp_path: Path
) -> None:
    snapshot = taken(properties)
    pg_bin(tmp_path)
    runner.verify_snapshot(snapshot, actor=ADA)
    rollouts.work()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.FAILED
    assert "pg_dump/pg_restore not found" in snapshot.error
    assert len(stored()) == 1
    pg_bin("")
    runner.verify_snapshot(snapshot, actor=ADA)
    rollouts.work()
    snapshot.refresh_from_db()
    assert (snapshot.state, snapshot.error) == (SnapshotState.VERIFIED, "")


def test_a_snapshot_without_pg_dump_fails_and_says_what_to_install(
    properties: Rollout, pg_bin: Any, tmp_path: Path
) -> None:
    pg_bin(tmp_path)
    snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert snapshot.error == (f'pg_dump/pg_restore not found in {tmp_path} (ROLLOUT["PG_BIN"]).')
    assert "Install the client programs of PostgreSQL" in snapshot.advice
    assert snapshot.storage_name == ""
    entry = LogEntry.objects.get(event="snapshot failed")
    assert snapshot.error in entry.message


def test_a_snapshot_with_a_pg_dump_older_than_the_server_fails_and_names_both(
    properties: Rollout, pg_bin: Any, tmp_path: Path
) -> None:
    pg_bin(of_version(tmp_path, "13.4"))
    snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "older than the server" in snapshot.error
    assert "13.4" in snapshot.error


def test_a_snapshot_on_a_full_disk_fails_and_leaves_nothing_there(
    properties: Rollout, settings: Any, tmp_path: Path
) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "snapshots": {
            "BACKEND": "tests.support.storages.FullStorage",
            "OPTIONS": {"location": tmp_path},
        },
    }
    snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "Snapshot storage is full" in snapshot.error
    assert "Free space there" in snapshot.advice
    assert stored() == []
    # Temporary files of the worker's own are elsewhere.
    full = OSError(errno.EDQUOT, "Disk quota exceeded", "/tmp/entries.list")
    message, advice = snapshots.SnapshotJob(snapshot).explained(full)
    assert message.startswith("The disk of the worker's machine is full: ")
    assert "/tmp/entries.list" in message
    assert "Free space on that machine" in advice


def test_a_role_without_the_right_keeps_the_dump_and_is_told_what_to_run(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.engine.target import Target
    from rollout.journal.environments import target_of

    rollouts.execute("CREATE ROLE humble LOGIN IN ROLE pg_read_all_data")
    humble = Target({**target_of("production").parameters, "user": "humble"})
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "target_of", lambda _environment: humble)
        snapshot = taken(properties)
    assert snapshot.state == SnapshotState.FAILED
    assert "Role humble needs CREATEDB" in snapshot.error
    assert "ALTER ROLE humble CREATEDB" in snapshot.advice
    assert len(stored()) == 1
    rollouts.execute("DROP ROLE humble")


def test_an_expired_snapshot_is_deleted_by_the_watchdog_and_stays_in_the_list(
    properties: Rollout,
) -> None:
    snapshot = taken(properties)
    Watchdog().look()
    assert len(stored()) == 1
    Snapshot.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    Watchdog().look()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.DELETED
    assert stored() == []
    assert LogEntry.objects.get(event="snapshot deleted").actor == "watchdog"
