"""Places at which the engine waits, and what befalls it there."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
from django.db import connections
from django.db.models import QuerySet

from config import embedded
from rollout import runner
from rollout.journal import activity_log
from rollout.models import (
    SNAPSHOT_UNDER_WAY,
    AuditReport,
    AuditStatus,
    LogEntry,
    PhaseRun,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
)
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database

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
    event = "step rolled back" if run.direction == "backward" else "step done"
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
