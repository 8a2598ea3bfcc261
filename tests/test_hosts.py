"""Two hosts, each with web, workers and watchdog; one is cut off in the middle of a backfill."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import randrange
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from config import embedded
from config.home import ROOT
from rollout.journal import activity_log
from rollout.journal.heartbeats import WATCHDOG
from rollout.models import (
    AuditReport,
    BackfillJob,
    Heartbeat,
    LogEntry,
    PhaseRun,
    Rollout,
    RunState,
)
from tests.support import rollouts
from tests.support.hosts import CabledHost, Host, forwarded, namespaces_are_allowed
from tests.support.processes import (
    Running,
    answers,
    free_port,
    manage_process,
    stopped_after,
    wait_until,
)
from tests.support.rollouts import PLAN
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("hosts")

ROWS = 12_000
# Silence is noticed after 12 s, a lease ends after 10; a machine at its limit takes longer.
WITHIN_SECONDS = 45
# Rows take a while, in their transactions, and what the engine wrote is counted in them as well.
COUNTED = """
CREATE TABLE written_by_the_engine (rows bigint NOT NULL);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_setting('application_name') = 'rollout' THEN
    PERFORM pg_sleep(0.0005 * count(*)) FROM these;
    INSERT INTO written_by_the_engine SELECT count(*) FROM these;
  END IF;
  RETURN NULL; END $$;
CREATE TRIGGER counted AFTER UPDATE ON properties REFERENCING NEW TABLE AS these
  FOR EACH STATEMENT EXECUTE FUNCTION counted();
"""
UPDATED = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes"
WRITTEN = "SELECT coalesce(sum(rows), 0)::bigint FROM written_by_the_engine"
LEADER = (
    "SELECT max(l.pid) FROM pg_locks l WHERE locktype = 'advisory' AND granted"
    " AND classid = x'526F6C6C'::int AND objid = x'57617463'::int AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@dataclass(frozen=True)
class Site:
    """Two hosts on one database and one queue."""

    hosts: tuple[Host, Host]
    web: dict[str, str] = field(default_factory=dict)
    """Host and port of each host's pages."""

    def is_ready(self, host: Host) -> bool:
        """Whether the pages of a host say that everything is at work."""
        return answers(f"http://{self.web[host.name]}/readyz")

    def at_work(self, worker: str) -> Host:
        return next(host for host in self.hosts if host.runs(worker))

    def seen(self) -> str:
        return "\n".join(f"== {host.name}\n{host.output()}" for host in self.hosts)


@pytest.fixture(params=["orm", "redis"])
def two_hosts(
    request: pytest.FixtureRequest, committed_db: Database, expanded: Rollout, tmp_path: Path
) -> Iterator[Site]:
    cabled = namespaces_are_allowed()
    rollouts.load_listings(ROWS)
    rollouts.execute(COUNTED)
    with ExitStack() as ends:
        redis = ends.enter_context(a_redis(tmp_path)) if request.param == "redis" else None
        socket_path = f"{parse_qs(urlsplit(committed_db.url).query)['host'][0]}/.s.PGSQL.5432"
        port = ends.enter_context(forwarded(socket_path)) if cabled else 0
        first = randrange(1, 120) * 2
        hosts: list[Host] = []
        for name, number in (("host-a", first), ("host-b", first + 1)):
            env = committed_db.env(LOG_LEVEL="INFO", ROLLOUT_WORKERS="1")
            us = f"10.231.{number}.1" if cabled else "127.0.0.1"
            if cabled:
                database = embedded.database_name(committed_db.url)
                env["DATABASE_URL"] = f"postgresql://postgres@{us}:{port}/{database}"
            if redis:
                env["ROLLOUT_REDIS_URL"] = f"redis://{us}:{redis}/0"
            if cabled:
                hosts.append(CabledHost(name, env, tmp_path, ends, number=number))
            else:
                hosts.append(Host(name, env, tmp_path, ends))
            env["ALLOWED_HOSTS"] = hosts[-1].address
        hosted = Site((hosts[0], hosts[1]))
        for host in hosted.hosts:
            host.manage("qcluster", "qcluster")
            host.manage("watchdog", "rollout", "watchdog")
            hosted.web[host.name] = f"{host.address}:{free_port()}"
            host.start(
                *("web", "-m", "gunicorn", "config.wsgi", "--bind", hosted.web[host.name]),
                *("--chdir", str(ROOT), "--no-control-socket", "--worker-class", "gthread"),
                # The site is loaded once, not once more by the worker.
                "--preload",
            )
        wait_until(
            lambda: (
                Heartbeat.objects.filter(kind=WATCHDOG).count() == 2
                and all(hosted.is_ready(host) for host in hosted.hosts)
            ),
            seconds=60,
            seen=hosted.seen,
        )
        yield hosted
        # All at once: each takes a while to end in good order.
        for host in hosted.hosts:
            host.stop()


@contextmanager
def a_redis(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis of the test's own; skipped if there is none, except in CI."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs redis-server (Debian's package of that name).")
        pytest.skip("redis-server is not installed.")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "*", "--protected-mode", "no"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    with stopped_after(Running(command, env=os.environ, log=tmp_path / "redis.log")) as server:
        server.wait_for(lambda: "Ready to accept connections" in server.output())
        yield port


def test_a_host_that_is_cut_off_loses_its_work_to_the_other_and_doubles_nothing(
    two_hosts: Site,
) -> None:
    rollout = rollouts.the_rollout()
    two_hosts.hosts[0].manage("start", "rollout", "start", PLAN, "2")
    wait_until(lambda: rollouts.ask(UPDATED) > 200, seen=two_hosts.seen)
    # However busy this machine is, batches are not to become ever smaller.
    BackfillJob.objects.update(target_ms=2_000)
    run = PhaseRun.objects.get(rollout=rollout, phase=2)
    cut = two_hosts.at_work(run.worker)
    other = next(host for host in two_hosts.hosts if host is not cut)
    cut.cut_off()
    pulled = time.monotonic()

    def moved() -> bool:
        run.refresh_from_db()
        return other.runs(run.worker)

    wait_until(moved, seconds=WITHIN_SECONDS, seen=two_hosts.seen)
    assert time.monotonic() - pulled < WITHIN_SECONDS
    assert two_hosts.is_ready(other)
    before = rollouts.ask(UPDATED)
    wait_until(lambda: rollouts.ask(UPDATED) > before, seen=two_hosts.seen)
    # It is let in again while the other is at it.
    cut.come_back()
    wait_until(lambda: rollouts.state_of(run) == RunState.DONE, seconds=90, seen=two_hosts.seen)
    job = BackfillJob.objects.get(kind="fill")
    assert job.updated == rollouts.ask(WRITTEN) == ROWS
    assert job.scanned == job.updated + job.already_right
    assert AuditReport.objects.filter(run=run, status="clean").get().rows == ROWS
    assert LogEntry.objects.filter(event="brought back").exists()
    assert activity_log.verify().broken is None
    # And it is there as before.
    wait_until(
        lambda: (
            two_hosts.is_ready(cut)
            and Heartbeat.objects.filter(
                kind=WATCHDOG, seen_at__gt=timezone.now() - timedelta(seconds=5)
            ).count()
            == 2
        ),
        seconds=60,
        seen=two_hosts.seen,
    )


def test_a_watchdog_that_stands_still_or_dies_is_replaced_by_another(
    committed_db: Database, tmp_path: Path
) -> None:
    def leader() -> int | None:
        pid: int | None = rollouts.ask(LEADER)
        return pid

    def start(name: str) -> Running:
        return manage_process(
            "rollout", "watchdog", env=committed_db.env(), log=tmp_path / f"{name}.log"
        )

    def is_seen(watchdog: Running) -> bool:
        # At rest a watchdog looks every five seconds.
        recently = timezone.now() - timedelta(seconds=8)
        names = Heartbeat.objects.filter(seen_at__gt=recently).values_list("name", flat=True)
        return any(name.endswith(f":{watchdog.pid}") for name in names)

    with stopped_after(start("first")) as first, stopped_after(start("second")) as second:
        wait_until(lambda: leader() is not None)
        wait_until(lambda: is_seen(first) and is_seen(second))
        led = leader()
        # Whichever leads stands still: one stops, then, if that was the wrong one, the other.
        frozen = first
        first.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not is_seen(first))
        began = time.monotonic()
        if _goes_on(committed_db, led):
            first.process.send_signal(signal.SIGCONT)
            wait_until(lambda: is_seen(first))
            frozen = second
            second.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: leader() not in (None, led), seconds=25)
        assert time.monotonic() - began < 25
        replacement = leader()
        frozen.process.send_signal(signal.SIGCONT)
        wait_until(lambda: is_seen(frozen))
        assert leader() == replacement
        # The one that leads now is killed: the lock is free at once.
        now_leading = second if frozen is first else first
        now_leading.process.kill()
        wait_until(lambda: leader() not in (None, replacement))


def _goes_on(database: Database, pid: int | None) -> bool:
    """Whether the session of a leader asked anything in its last look, five seconds ago at most."""
    return bool(
        rollouts.ask(
            "SELECT state_change > clock_timestamp() - interval '7 seconds'"
            " FROM pg_stat_activity WHERE pid = %s",
            pid,
        )
    )
