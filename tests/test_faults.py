"""Kills, lost connections, crashes and full disks in the last phase, its rollback, and restores.

Each is tried while the engine stands at a gate: a lock that the test holds at a place of its own
choice, so that it is known what was interrupted.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
from django.db import connections
from django.db.models import QuerySet

from config import embedded, server_user
from rollout import runner
from rollout.journal import activity_log
from rollout.models import (
    RESTORE_UNDER_WAY,
    SNAPSHOT_UNDER_WAY,
    AuditReport,
    AuditStatus,
    BackfillJob,
    LogEntry,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
)
from tests import rollouts
from tests.processes import manage_process, stopped_after, wait_until
from tests.rollouts import ADA
from tests.servers import Database, in_place_of_the_default

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("faults")

SETTINGS = {**embedded.TEST_SETTINGS, "synchronous_commit": "on"}
ROWS = 300
GATE = """
CREATE OR REPLACE FUNCTION {name}() RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtext('{name}')) {when};
  {end} END $$;
"""
# Others find with CREATE TABLE IF NOT EXISTS that theirs is there, which makes nothing.
MADE_SOMETHING = "WHERE EXISTS (SELECT FROM pg_event_trigger_ddl_commands())"
AT_THE_GATE = """
SELECT max(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
   AND objid = hashtext(%s)::oid AND pg_blocking_pids(pid) && %s::int[]
"""
# An index is built in transactions of its own: it waits for who may still see the table without.
# Whoever waits for somebody else than a gate has not come to one yet. Of two gates at one index the
# build waits for either first: which one is open must not matter.
BUILDING = """
SELECT max(pid) FROM pg_stat_activity
 WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%' || %s || '%%' AND wait_event_type = 'Lock'
   AND pg_blocking_pids(pid) && %s::int[]
"""
IS_THERE = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
WAITS_FOR_ROLLOUT = """
SELECT max(pid) FROM pg_stat_activity
 WHERE query LIKE '%%FROM "rollout_rollout"%%' || %s || 'FOR %%UPDATE%%'
   AND wait_event_type = 'Lock' AND pg_blocking_pids(pid) && %s::int[]
"""
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


class Gate:
    """A place where the engine waits until it is opened."""

    def __init__(self, site: "Site", question: str, name: str, shut: str) -> None:
        self.site, self.question, self.name, self._shut = site, question, name, shut
        self.shut()

    def shut(self) -> None:
        # A name that the gate about readers knows; an old snapshot holds up who builds an index.
        self._keeper = psycopg.connect(self.site.database.url, application_name="properties/99.0")
        self._keeper.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._keeper.execute(self._shut.encode())
        self.site.shut.add(self)

    def open(self) -> None:
        self._keeper.close()
        self.site.shut.discard(self)

    def reached(self) -> int:
        """Wait for the engine; the server's process that works for it."""
        reached: list[int] = []

        def is_there() -> bool:
            pid = self._process()
            reached[:] = [pid] if pid else []
            return bool(pid)

        wait_until(is_there, seen=self.site.output, seconds=90)
        return reached[0]

    def _process(self) -> Any:
        keepers = [gate._keeper.info.backend_pid for gate in self.site.shut]
        return rollouts.ask(self.question, self.name, keepers)


class Site:
    """A PostgreSQL of the test's own, with a cluster and a watchdog on it."""

    def __init__(self, data: Path, url: str, logs: Path) -> None:
        self.data, self.logs = data, logs
        self.database = Database(url)
        self.shut: set[Gate] = set()

    def output(self) -> str:
        return "".join(file.read_text()[-6000:] for file in self.logs.glob("*.log"))

    def gate_in_rows(self, table: str, when: str, *, event: str = "UPDATE") -> Gate:
        """A gate at a row that is written, within its transaction."""
        name = self._gate_function("trigger", "RETURN NULL;")
        rollouts.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW WHEN ({when})"
            f" EXECUTE FUNCTION {name}()"
        )
        return self._shut(name)

    def gate_in_definitions(self, tag: str, *, event: str = "ddl_command_end") -> Gate:
        """A gate at the end of a statement that defines something, before it is committed; with
        the event ``sql_drop`` of one that drops."""
        name = self._gate_function("event_trigger", "", when=MADE_SOMETHING)
        rollouts.execute(
            f"CREATE EVENT TRIGGER {name} ON {event} WHEN TAG IN ('{tag}')"
            f" EXECUTE FUNCTION {name}()"
        )
        return self._shut(name)

    def gate_in_index(self, index: str) -> Gate:
        """A gate in a concurrent build, where its index is there already and not valid."""
        return Gate(self, BUILDING, index, "SELECT count(*) FROM property_types")

    def gate_in_the_journal(self) -> Gate:
        """A gate before whatever changes where the rollout stands."""
        return Gate(self, WAITS_FOR_ROLLOUT, "", "SELECT FROM rollout_rollout FOR UPDATE")

    def _gate_function(self, returns: str, end: str, *, when: str = "") -> str:
        number = rollouts.ask("SELECT count(*) FROM pg_proc WHERE proname LIKE 'gate_%%'")
        name = f"gate_{number}"
        rollouts.execute(GATE.format(name=name, returns=returns, end=end, when=when))
        return name

    def _shut(self, name: str) -> Gate:
        return Gate(self, AT_THE_GATE, name, f"SELECT pg_advisory_lock(hashtext('{name}')); COMMIT")


@pytest.fixture
def contracted_elsewhere(
    beginning: str, tmp_path: Path, django_db_blocker: "DjangoDbBlocker"
) -> Iterator[Site]:
    """The property rollout at the end of phase 4, on a server that may be crashed."""
    data = tmp_path / "postgres"
    usual = embedded.with_database(os.environ["DATABASE_URL"], beginning)
    try:
        url = embedded.start(data, settings=SETTINGS)
        dump = [str(embedded.program("pg_dump")), "-d", usual]
        load = [str(embedded.program("psql")), "--quiet", "-d", url]
        contents = subprocess.run(dump, check=True, capture_output=True).stdout
        subprocess.run(load, input=contents, check=True, capture_output=True)
        env = Database(url).env(LOG_LEVEL="INFO")
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


def ten_seconds_pass() -> None:
    """Nothing was heard of any worker for as long as a lease."""
    for table in ("rollout_phaserun", "rollout_restore", "rollout.lanes"):
        rollouts.execute(f"UPDATE {table} SET lease_until = now() - interval '1 second'")


Work = Any
Fault = Callable[[Gate, Work], None]


def killed(gate: Gate, work: Work) -> None:
    """SIGKILL to the worker. Whoever takes over ends the session that it left at the gate."""
    session = gate.reached()
    _kill(gate, work)
    wait_until(lambda: not rollouts.ask(IS_THERE, session), seen=gate.site.output)
    gate.open()


def killed_between(gate: Gate, work: Work) -> None:
    """SIGKILL to the worker between its work and what it writes about it."""
    gate.reached()
    _kill(gate, work)
    gate.open()


def _kill(gate: Gate, work: Work) -> None:
    work.refresh_from_db()
    dead = work.worker
    psutil.Process(int(dead.rpartition(":")[2])).kill()
    ten_seconds_pass()

    def another_has_it() -> bool:
        work.refresh_from_db()
        return work.worker not in ("", dead)

    wait_until(another_has_it, seen=gate.site.output)


def cut_off(gate: Gate, work: Work) -> None:
    """The server ends the session of the engine."""
    pid = gate.reached()
    work.refresh_from_db()
    assert rollouts.ask("SELECT pg_terminate_backend(%s)", pid)
    gate.open()
    _wait_for_another_try(gate.site, work)


def crashed(gate: Gate, work: Work) -> None:
    """An immediate shutdown: nobody is asked, and the next start recovers from the log."""
    gate.reached()
    work.refresh_from_db()
    connections["default"].close()
    server = embedded.running(gate.site.data)
    assert server
    server.send_signal(signal.SIGQUIT)
    wait_until(lambda: embedded.running(gate.site.data) is None)
    embedded.start(gate.site.data, settings=SETTINGS)
    gate.open()
    # Nobody has got to the others yet: the work is brought back from here on.
    for other in gate.site.shut:
        other.shut()
    _wait_for_another_try(gate.site, work)


def _wait_for_another_try(site: Site, work: Work) -> None:
    token, state = work.token, work.state

    def is_so() -> bool:
        work.refresh_from_db()
        if (work.token, work.state) == (token, state):
            ten_seconds_pass()
            return False
        return True

    wait_until(is_so, seen=site.output)


def wait_for_done(site: Site, run: PhaseRun) -> None:
    def outcome() -> str:
        run.refresh_from_db()
        steps = [f"{step.step}: {step.result}{step.error}" for step in run.steps.all()]
        return f"{run}: {run.error} {steps}\n{site.output()}"

    ended = (RunState.DONE, RunState.FAILED)
    wait_until(lambda: rollouts.state_of(run) in ended, seconds=60, seen=outcome)
    assert rollouts.state_of(run) == RunState.DONE, outcome()


def assert_every_step_was_done_once(run: PhaseRun) -> None:
    event = "step rolled back" if run.way == "backward" else "step done"
    logged = LogEntry.objects.filter(event=event, data__run=run.pk)
    steps = list(logged.values_list("data__step", flat=True))
    assert len(steps) == len(set(steps)) == run.steps.count()
    assert activity_log.verify().broken is None


def audit(site: Site, rollout: Rollout) -> None:
    wait_for_clean(site, runner.start_audit(rollout, actor=ADA))


def wait_for_clean(site: Site, report: AuditReport) -> None:
    wait_for_end(site, report, AuditReport.objects.exclude(status=AuditStatus.RUNNING))
    assert (report.status, report.rows) == (AuditStatus.CLEAN, ROWS)


def take_snapshot(site: Site, rollout: Rollout) -> Snapshot:
    snapshot = runner.take_snapshot(rollout, actor=ADA)
    wait_for_end(site, snapshot, Snapshot.objects.exclude(state__in=SNAPSHOT_UNDER_WAY))
    assert snapshot.state == SnapshotState.VERIFIED, snapshot.error
    return snapshot


def wait_for_end(site: Site, work: Work, ended: QuerySet[Any]) -> None:
    wait_until(ended.filter(pk=work.pk).exists, seen=site.output)
    work.refresh_from_db()


def go_through(run: PhaseRun, *gates: tuple[Gate, Fault]) -> None:
    for gate, fault in gates:
        fault(gate, run)


def test_the_last_phase_and_its_rollback_survive_whatever_dies_in_the_middle(
    contracted_elsewhere: Site,
) -> None:
    site = contracted_elsewhere
    rollout = rollouts.the_rollout()
    lanes = "rollout.lanes"
    first_proof = site.gate_in_rows(lanes, "NEW.relation LIKE '%archive' AND NEW.exact > OLD.exact")
    restore = site.gate_in_rows(lanes, "NEW.updated > OLD.updated")
    last_proof = site.gate_in_rows(lanes, "NEW.relation = 'properties' AND NEW.exact > OLD.exact")
    rebuild = site.gate_in_index("properties_type_status_idx")
    run = runner.roll_back(rollout, 4, actor=ADA)
    go_through(
        run, (first_proof, cut_off), (restore, killed), (last_proof, crashed), (rebuild, killed)
    )
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

    archive, once_more = (site.gate_in_definitions("CREATE TABLE AS") for _ in range(2))
    # Made before the engine goes on: it might be past them otherwise.
    drop = site.gate_in_definitions("ALTER TABLE", event="sql_drop")
    index, again = (site.gate_in_index("properties_type_id_idx") for _ in range(2))
    view = site.gate_in_definitions("CREATE MATERIALIZED VIEW")
    run = runner.start(rollout, 4, actor=rollouts.prepare(rollout, 4))
    go_through(run, (archive, killed), (once_more, crashed))
    go_through(run, (drop, killed), (index, cut_off), (again, killed), (view, cut_off))
    wait_for_done(site, run)
    assert_every_step_was_done_once(run)
    assert rollouts.ask(BROKEN) == 0
    assert rollouts.ask(ARCHIVED) == legacy


def test_a_restore_is_carried_out_once_whatever_dies_in_the_middle(
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
    drop = site.gate_in_definitions("ALTER TABLE")
    run = runner.retry(rollout, actor=ADA)
    drop.reached()
    fill_up(ballast)
    drop.open()
    assert_failed_of_the_disk(site, run, "index-type")
    assert rollouts.ask(BROKEN) == 1
    ballast.unlink()
    wait_for_done(site, runner.retry(rollout, actor=ADA))
    assert rollouts.ask(BROKEN) == 0
    assert rollouts.ask(ARCHIVED) == legacy


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
