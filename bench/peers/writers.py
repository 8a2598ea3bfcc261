"""Everybody who fills the same rows: started, killed, started again, awaited."""

import os
import secrets
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from psycopg import sql

from bench.loops.base import Bounds, Copy, Loop, Run, Work
from bench.loops.rollout import await_end, begin, spawn_site, workers
from bench.peers.environments import NotRunning
from bench.server import Connection, Database, django_uses
from config import embedded, processes
from config.home import ROOT
from rollout.plan.names import in_target

POLL_SECONDS = 0.2
# Of what a peer's command prints, when it fails.
LAST_CHARACTERS = 2000


class Writer(ABC):
    """Fills the rows of a copy."""

    recovery: str
    """What has to happen after a kill -9 until the work continues."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy

    @abstractmethod
    def start(self, rows: int) -> None:
        """Begin, with the first so many rows where that can be said."""

    @abstractmethod
    def work(self, seconds: float) -> Work:
        """Await the end, or so many seconds; what was done until then."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9 for every process that does the work."""

    @abstractmethod
    def resume(self) -> None:
        """Let the work continue after that, as far as its documentation says how."""


class Rollout(Writer):
    """This engine, by its queue, workers and watchdog."""

    recovery = "by itself: the lease runs out after 10 s, the next worker continues"

    def start(self, rows: int) -> None:
        self.run = begin(self.copy.plan.name, 2)

    def work(self, seconds: float) -> Work:
        await_end(self.run)
        now = time.time()
        return Work(self.copy.rows, now, now)

    def kill(self) -> None:
        for process in processes.marked(self.copy.database.home):
            if "qcluster" in process.cmdline():
                process.kill()
                process.wait(processes.STOP_SECONDS)

    def resume(self) -> None:
        spawn_site(self.copy.database, "qcluster")


class Peer(Writer):
    """A command of the peers' project, by the peers' Python."""

    def __init__(self, copy: Copy, python: Path) -> None:
        super().__init__(copy)
        self.python = python
        self.environ = peer_environ(copy.database)
        self.log = copy.database.home / "peers.log"
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        return run_python(self.python, ("-m", "django", *arguments), self.environ)

    def spawn(self, *arguments: str) -> None:
        with self.log.open("ab") as output:
            self.process = processes.spawn(
                [str(self.python), "-m", "django", *arguments],
                home=self.copy.database.home,
                environ=self.environ,
                output=output,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def failed(self) -> NotRunning:
        return NotRunning(self.log.read_text(errors="replace")[-LAST_CHARACTERS:])


class MaintenanceTasks(Peer):
    """django-maintenance-tasks, its jobs done by a worker of django-tasks-db."""

    recovery = (
        "a worker that is started again does nothing; `maintenance_tasks recover` from cron does, "
        "after STALE_AFTER (600 s by default, 10 s here)"
    )
    TASK = "bench.peers.site.maintenance_tasks.FillListings"

    def start(self, rows: int) -> None:
        self.manage("migrate", "maintenance_tasks", "--verbosity=0")
        self.manage("migrate", "django_tasks_database", "--verbosity=0")
        self._start_worker()
        self.manage("maintenance_tasks", "run", self.TASK)

    def work(self, seconds: float) -> Work:
        began = time.time()
        with self.copy.database.connect() as connection:
            while True:
                row = connection.execute(
                    "SELECT status, tick_count, started_at, ended_at, error_message"
                    " FROM maintenance_tasks_run ORDER BY id DESC LIMIT 1"
                ).fetchone()
                assert row is not None
                status, rows, started, ended, error = row
                if status == "errored" or (self.process and self.process.poll() is not None):
                    raise NotRunning(error or str(self.failed()))
                if ended is not None:
                    return Work(rows, started.timestamp(), ended.timestamp())
                if time.time() - began > seconds and started is not None:
                    return Work(rows, started.timestamp(), time.time())
                time.sleep(POLL_SECONDS)

    def resume(self) -> None:
        self._start_worker()
        # As cron would, until it has seen that the worker is gone.
        while not self.manage("maintenance_tasks", "recover"):
            time.sleep(1)

    def _start_worker(self) -> None:
        self.spawn("db_worker", "--interval", "0.1", "--no-startup-delay", "--verbosity=0")


class RunPython(Peer):
    """A data migration with `iterator` and `bulk_update`, in the one transaction of a migration."""

    recovery = "`migrate` once more, from the first row: what was done has been rolled back"

    def start(self, rows: int) -> None:
        self.environ["PEER_ROWS"] = str(rows)
        self.rows, self.started = rows, time.time()
        self.spawn("migrate", "peer_site", "--verbosity=0")

    def work(self, seconds: float) -> Work:
        assert self.process is not None
        if self.process.wait() != 0:
            raise self.failed()
        return Work(self.rows, self.started, time.time())

    def resume(self) -> None:
        self.start(self.rows)


Make = Callable[[Copy], Writer]


@contextmanager
def ready(make: Make, copy: Copy) -> Iterator[Writer]:
    """A writer on a copy that is as it wants it; its processes end with the block."""
    writer = make(copy)
    if isinstance(writer, Rollout):
        with workers(copy.database):
            yield writer
        return
    with copy.database.connect() as connection:
        _prepare(connection, copy)
    try:
        with django_uses(copy.database):
            yield writer
    finally:
        writer.kill()


def loop(make: Make) -> Loop:
    """A peer as the benchmark of loops wants it."""

    @contextmanager
    def peer(copy: Copy) -> Iterator[Run]:
        with ready(make, copy) as writer:

            def run(bounds: Bounds) -> Work:
                writer.start(bounds.rows)
                return writer.work(bounds.seconds)

            yield run

    return peer


def _prepare(connection: Connection, copy: Copy) -> None:
    """Mappings for the peer, and none of Rollout's triggers: a peer's application has its own."""
    make_mappings(connection, copy)
    triggers = connection.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'listings'::regclass AND NOT tgisinternal"
    ).fetchall()
    for (name,) in triggers:
        connection.execute(sql.SQL("DROP TRIGGER {} ON listings").format(sql.Identifier(name)))


def make_mappings(connection: Connection, copy: Copy) -> None:
    """A view for each text, of what it means."""
    for lookup in copy.plan.lookups_of(copy.plan.tables[0]):
        connection.execute(
            sql.SQL("CREATE VIEW {} AS SELECT legacy, lookup_id FROM {}").format(
                sql.Identifier(f"peer_{lookup.legacy}"),
                in_target(lookup.mapping_name(copy.plan.name)),
            )
        )


def peer_environ(database: Database) -> dict[str, str]:
    """The environment of a process of the peers' project."""
    (host,) = parse_qs(urlsplit(database.url).query)["host"]
    usual = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **usual,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "bench.peers.site.settings",
        "SECRET_KEY": secrets.token_hex(16),
        "PEER_DATABASE": database.name,
        "PEER_USER": embedded.SUPERUSER,
        "PEER_HOST": host,
    }


def run_python(python: Path, arguments: Sequence[str], environ: dict[str, str]) -> str:
    """What a command prints. Raises NotRunning with the end of what it says when it fails."""
    done = subprocess.run(
        [str(python), *arguments], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotRunning(done.stderr[-LAST_CHARACTERS:])
    return done.stdout.strip()
