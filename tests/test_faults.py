"""Kills, lost connections, crashes and full disks in the last phase, its rollback, and restores.

Each is tried while the engine stands at a gate: a lock that the test holds at a place of its own
choice, so that it is known what was interrupted.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config import embedded, server_user
from rollout import runner
from rollout.models import (
    RESTORE_UNDER_WAY,
    AuditReport,
    BackfillJob,
    LogEntry,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    Snapshot,
)
from tests.support import rollouts
from tests.support.faults import (
    ROWS,
    SETTINGS,
    Site,
    assert_every_step_was_done_once,
    audit,
    crashed,
    cut_off,
    go_through,
    killed,
    killed_between,
    take_snapshot,
    wait_for_clean,
    wait_for_done,
    wait_for_end,
)
from tests.support.intervals import QUICK_WATCHDOG
from tests.support.processes import manage_process, stopped_after
from tests.support.rollouts import ADA
from tests.support.servers import (
    Database,
    copy_cluster,
    copy_to_other_server,
    in_place_of_the_default,
)

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker


pytestmark = pytest.mark.xdist_group("faults")
# Of a third of the rows, as no trigger sees it.
DAMAGE = """
ALTER TABLE properties DISABLE TRIGGER USER;
UPDATE properties SET currency = 'EUR'
 WHERE id IN (SELECT id FROM properties ORDER BY id LIMIT 100);
ALTER TABLE properties ENABLE TRIGGER USER
"""
CURRENCIES = "SELECT jsonb_object_agg(id, currency) FROM properties"
OTHER_VALUES = "SELECT jsonb_object_agg(id, to_jsonb(properties) - 'currency') FROM properties"
TITLES = "SELECT jsonb_object_agg(id, title) FROM properties"
TEXTS = "SELECT jsonb_object_agg(id, jsonb_build_array(type, status)) FROM {}"
ARCHIVE = 'rollout."property-classification_properties_archive"'
ARCHIVED = TEXTS.format(ARCHIVE)
TEXTS = TEXTS.format("properties")
BROKEN = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"


@pytest.fixture
def contracted_elsewhere(
    beginning: str, tmp_path: Path, django_db_blocker: "DjangoDbBlocker"
) -> Iterator[Site]:
    """The property rollout at the end of phase 4, on a server that may be crashed."""
    data = tmp_path / "postgres"
    try:
        copy_cluster(data)
        url = embedded.start(data, settings=SETTINGS)
        copy_to_other_server(beginning, url)
        env = Database(url).env(LOG_LEVEL="INFO", **QUICK_WATCHDOG)
        queue_log, watchdog_log = tmp_path / "queue.log", tmp_path / "watchdog.log"
        with (
            django_db_blocker.unblock(),
            in_place_of_the_default(url),
            stopped_after(manage_process("qcluster", env=env, log=queue_log)),
            stopped_after(manage_process("rollout", "watchdog", env=env, log=watchdog_log)),
        ):
            yield Site(data, url, tmp_path)
    finally:
        embedded.remove(data)


def test_the_last_phase_and_its_rollback_survive_whatever_dies_in_the_middle(
    contracted_elsewhere: Site,
) -> None:
    site = contracted_elsewhere
    rollout = rollouts.the_rollout()
    lanes = "rollout.lanes"
    first_proof = site.gate_in_rows(lanes, "NEW.relation LIKE '%archive' AND NEW.exact > OLD.exact")
    restore = site.gate_in_rows(lanes, "NEW.updated > OLD.updated")
    last_proof = site.gate_in_rows(lanes, "NEW.relation = 'properties' AND NEW.exact > OLD.exact")
    rebuild, again = (site.gate_in_index("properties_type_status_idx") for _ in range(2))
    run = runner.roll_back(rollout, 4, actor=ADA)
    go_through(run, (first_proof, cut_off), (restore, killed), (last_proof, crashed))
    go_through(run, (rebuild, cut_off), (again, killed))
    wait_for_done(site, run)
    assert_every_step_was_done_once(run)
    assert rollouts.ask(BROKEN) == 0
    for kind in ("restore", "proof"):
        jobs = BackfillJob.objects.filter(step_run__run=run, kind=kind)
        assert {job.scanned for job in jobs} == {ROWS}
    legacy = rollouts.ask(TEXTS)

    rollouts.execute(DAMAGE)
    mended, more = (site.gate_in_rows(lanes, "NEW.updated > OLD.updated") for _ in range(2))
    run = runner.repair(
        rollout, table="properties", selection={"categories": ["computed_differs"]}, actor=ADA
    )
    go_through(run, (mended, killed), (more, cut_off))
    wait_for_done(site, run)
    repaired = BackfillJob.objects.get(step_run__run=run)
    assert (repaired.scanned, repaired.updated) == (ROWS, ROWS // 3)
    wait_for_clean(site, AuditReport.objects.latest("pk"))
    take_snapshot(site, rollout)

    archive, once_more = (site.gate_in_rows(lanes, "NEW.updated > OLD.updated") for _ in range(2))
    # Made before the engine continues: it might be past them otherwise.
    drop = site.gate_in_definitions("ALTER TABLE", event="sql_drop")
    view = site.gate_in_definitions("CREATE MATERIALIZED VIEW")
    run = runner.start(rollout, 4, actor=rollouts.prepare(rollout, 4))
    go_through(run, (archive, killed), (once_more, crashed))
    go_through(run, (drop, killed), (view, cut_off))
    wait_for_done(site, run)
    assert_every_step_was_done_once(run)
    assert rollouts.ask(BROKEN) == 0
    assert rollouts.ask(ARCHIVED) == legacy
    archived = BackfillJob.objects.get(step_run__run=run, kind="archive")
    assert (archived.scanned, archived.updated, archived.rewritten) == (ROWS, ROWS, 0)


def test_a_restore_is_run_once_whatever_dies_in_the_middle(
    contracted_elsewhere: Site,
) -> None:
    site = contracted_elsewhere
    rollout = rollouts.the_rollout()
    snapshot = take_snapshot(site, rollout)
    restored = rollouts.ask(TITLES)
    rollouts.execute("UPDATE properties SET title = 'Changed since'")
    changed = rollouts.ask(TITLES)
    take_snapshot(site, rollout)

    loading = site.gate_in_definitions("CREATE TABLE")
    restore = restore_into_production(snapshot, rollout)
    cut_off(loading, restore)
    wait_for_end(site, restore, Restore.objects.exclude(state__in=RESTORE_UNDER_WAY))
    assert restore.state == RestoreState.FAILED
    assert "connection lost" in restore.error
    assert "Nothing was changed" in restore.error
    assert rollouts.ask(TITLES) == changed

    loading.shut()
    restore = restore_into_production(snapshot, rollout)
    noted = site.gate_in_the_journal()
    killed(loading, restore)
    noted.reached()
    assert rollouts.ask(TITLES) == restored
    # Somebody asks to cancel it, and the application writes: the first is too late, and the
    # second would be lost if the tables were replaced once more.
    Restore.objects.filter(pk=restore.pk).update(state=RestoreState.CANCELLING)
    rollouts.execute("UPDATE properties SET title = 'Written after the restore'")
    killed_between(noted, restore)
    wait_for_end(site, restore, Restore.objects.exclude(state__in=RESTORE_UNDER_WAY))
    assert restore.state == RestoreState.DONE, restore.error
    assert set(rollouts.ask(TITLES).values()) == {"Written after the restore"}
    assert LogEntry.objects.filter(event="snapshot restored").count() == 1


def restore_into_production(snapshot: Snapshot, rollout: Rollout) -> Restore:
    ada, grace = rollouts.person("ada"), rollouts.person("grace")
    restore = runner.restore_snapshot(snapshot, rollout, replace=True, reason="Try", actor=ada)
    runner.approve_restore(restore, actor=grace)
    return restore


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        reason = "only root mounts a file system that is soon full"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        server_user.own(disk)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_fails_a_repair_a_restore_and_the_last_phase_until_there_is_room(
    small_disk: Path, contracted_elsewhere: Site
) -> None:
    site, rollout = contracted_elsewhere, rollouts.the_rollout()
    run = runner.roll_back(rollout, 4, actor=ADA)
    wait_for_done(site, run)
    legacy = rollouts.ask(TEXTS)
    ballast = small_disk / "ballast"
    rollouts.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    # A restore brings the table back to where it was when the snapshot was taken.
    rollouts.execute("ALTER TABLE properties SET TABLESPACE small")
    snapshot = take_snapshot(site, rollout)
    right, others = rollouts.ask(CURRENCIES), rollouts.ask(OTHER_VALUES)

    rollouts.execute(DAMAGE)
    # No page has room for a new version of its rows.
    rollouts.execute("VACUUM FULL properties")
    fill_up(ballast)
    run = runner.repair(
        rollout, table="properties", selection={"categories": ["computed_differs"]}, actor=ADA
    )
    assert_failed_of_the_disk(site, run, "repair")
    assert rollouts.ask(OTHER_VALUES) == others
    ballast.unlink()
    wait_for_done(site, runner.retry(rollout, actor=ADA))
    assert rollouts.ask(CURRENCIES) == right
    assert rollouts.ask(OTHER_VALUES) == others
    wait_for_clean(site, AuditReport.objects.latest("pk"))

    rollouts.execute("UPDATE properties SET title = 'Changed since'")
    changed = rollouts.ask(OTHER_VALUES)
    take_snapshot(site, rollout)
    fill_up(ballast)
    restore = restore_into_production(snapshot, rollout)
    wait_for_end(site, restore, Restore.objects.exclude(state__in=RESTORE_UNDER_WAY))
    assert restore.state == RestoreState.FAILED
    assert restore.error.startswith("The database server's disk is full: ")
    assert restore.error.endswith("No space left on device. Nothing was changed.")
    assert restore.advice == "Free space on the database server, then try again."
    assert rollouts.ask(OTHER_VALUES) == changed
    ballast.unlink()
    restore = restore_into_production(snapshot, rollout)
    wait_for_end(site, restore, Restore.objects.exclude(state__in=RESTORE_UNDER_WAY))
    assert restore.state == RestoreState.DONE, restore.error
    assert rollouts.ask(OTHER_VALUES) == others

    rollouts.execute("ALTER TABLE properties SET TABLESPACE pg_default")
    audit(site, rollout)
    take_snapshot(site, rollout)
    name = embedded.database_name(site.database.url)
    rollouts.execute(f"ALTER DATABASE {name} SET default_tablespace = 'small'")
    fill_up(ballast)
    run = runner.start(rollout, 4, actor=rollouts.prepare(rollout, 4))
    assert_failed_of_the_disk(site, run, "archive-legacy")
    assert rollouts.ask("SELECT to_regclass(%s)", ARCHIVE) is None
    assert rollouts.ask(TEXTS) == legacy

    ballast.unlink()
    drop = site.gate_in_definitions("ALTER TABLE", event="sql_drop")
    run = runner.retry(rollout, actor=ADA)
    drop.reached()
    fill_up(ballast)
    drop.open()
    assert_failed_of_the_disk(site, run, "listing-counts")
    ballast.unlink()
    wait_for_done(site, runner.retry(rollout, actor=ADA))
    assert rollouts.ask(ARCHIVED) == legacy

    rebuild = site.gate_in_index("properties_type_status_idx")
    run = runner.roll_back(rollout, 4, actor=ADA)
    rebuild.reached()
    fill_up(ballast)
    rebuild.open()
    # The index at the gate has its pages.
    assert_failed_of_the_disk(site, run, "drop-legacy-status-index")
    assert rollouts.ask(BROKEN) == 1
    ballast.unlink()
    wait_for_done(site, runner.retry(rollout, actor=ADA))
    assert rollouts.ask(BROKEN) == 0
    assert rollouts.ask(TEXTS) == legacy


def fill_up(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def assert_failed_of_the_disk(site: Site, run: PhaseRun, step: str) -> None:
    wait_for_end(site, run, PhaseRun.objects.filter(state__in=(RunState.DONE, RunState.FAILED)))
    assert run.state == RunState.FAILED
    assert "No space left on device" in run.error
    assert run.advice.startswith("Free space on the database server, then retry")
    assert run.steps.get(error__contains="No space left").step == step
