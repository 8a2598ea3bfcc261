"""The PostgreSQL of a test run, and the databases in it."""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from config import embedded, server_user
from config.home import ROOT
from tests.support.preloaded import preloaded_for

# Names the run's template database: one server may serve several runs.
RUN = "ROLLOUT_TEST_RUN"
# The directory of a run's files.
DIRECTORY = "ROLLOUT_TEST_DIRECTORY"
# Files in memory, where a system has such a place, and what must be free there: GiB.
MEMORY = Path("/dev/shm")
ROOM = 6
DELIVERED_TWICE = """
CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO django_q_ormq (key, payload, lock) VALUES (new.key, new.payload, new.lock);
  RETURN NULL; END $$;
CREATE TRIGGER twice AFTER INSERT ON django_q_ormq
  FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION twice();
"""


class TestServer:
    """One server for all workers of a run: an embedded one, unless DATABASE_URL names another."""

    __test__ = False

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rollout-tests-", dir=_memory()))
        # The server may run as another user than we do.
        self.directory.chmod(0o711)
        self._given = os.environ.get("DATABASE_URL")

    def start(self) -> None:
        os.environ.setdefault("TMPDIR", str(self.directory))  # The tests' files go the same way.
        tempfile.tempdir = None
        url = self._given or embedded.start(
            self.directory / "postgres", settings=embedded.TEST_SETTINGS
        )
        home = self.directory / "home"
        home.mkdir()
        os.environ.update(
            {
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": url,
                # As strong as that of a site which others than this machine reach.
                "SECRET_KEY": secrets.token_urlsafe(50),
                "ROLLOUT_HOME": str(home),
                "ROLLOUT_TESTING": "1",
                "LOG_LEVEL": "WARNING",
                RUN: str(os.getpid()),
                DIRECTORY: str(self.directory),
            }
        )

    def stop(self) -> None:
        if self._given:
            embedded.drop_database(template_url())
        else:
            embedded.remove(self.directory / "postgres")
        shutil.rmtree(self.directory, ignore_errors=True)


def _memory() -> Path | None:
    """Where a run can keep its files in memory: a third of its time went into the disk.

    TMPDIR goes first.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return None
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if free > ROOM * 2**30 else None


def copy_cluster(
    data: Path, *, name: str = "cluster", make: Callable[[Path], None] = embedded._make_cluster
) -> None:
    """Make a data directory: a copy of one that initdb makes once in a run, in a second."""
    made = Path(os.environ[DIRECTORY]) / name
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            draft = made.with_suffix(".draft")
            server_user.own(draft)
            make(draft)
            draft.rename(made)
    server_user.own(data)
    subprocess.run(["cp", "-a", f"{made}/.", data], check=True)


def template_url() -> str:
    return embedded.with_database(os.environ["DATABASE_URL"], f"rollout_template_{os.environ[RUN]}")


def migrated_template() -> str:
    """The name of a database in which every migration is applied and nobody writes."""
    name = embedded.database_name(template_url())
    return _made_once(name, lambda url: manage("migrate", "--verbosity", "0", url=url))


def filled_template(name: str, template: str, fill: Callable[[], object]) -> str:
    """The name of a copy of the template in which ``fill`` has worked on the default database."""

    def make(url: str) -> None:
        with in_place_of_the_default(url):
            fill()

    return _made_once(f"{template}_{name}", make, template=template)


def copy_to_other_server(name: str, url: str) -> None:
    """Bring what a database of the run's server has into an empty one elsewhere."""
    there = embedded.with_database(template_url(), name)
    dump = [str(embedded.program("pg_dump")), "-d", there]
    load = [str(embedded.program("psql")), "--quiet", "-v", "ON_ERROR_STOP=1", "-d", url]
    contents = subprocess.run(dump, check=True, capture_output=True).stdout
    subprocess.run(load, input=contents, check=True, capture_output=True)


# What this process knows to be there.
_made: set[str] = set()


def _made_once(name: str, make: Callable[[str], object], *, template: str | None = None) -> str:
    """The first worker that asks makes it, under a draft's name until it is whole; others wait."""
    if name in _made:
        return name
    url = embedded.with_database(template_url(), name)
    with psycopg.connect(embedded.with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            draft = embedded.with_database(url, f"{name}_draft")
            embedded.drop_database(draft)
            embedded.create_database(draft, template=template)
            make(draft)
            embedded.create_database(url, template=f"{name}_draft")
            embedded.drop_database(draft)
    _made.add(name)
    return name


def manage(*arguments: str, url: str, **more: str) -> str:
    """Runs a management command against the database `url`; gives what it printed."""
    command, env = [str(ROOT / "manage.py"), *arguments], Database(url).env(**more)
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = preloaded_for(env).start(command, env=env, output=output, errors=errors)
        status = process.wait()
        for file in (output, errors):
            file.seek(0)
        printed = output.read()
        if status != 0:
            raise AssertionError(f"manage.py {' '.join(arguments)}: {printed}{errors.read()}")
    return printed


@dataclass(frozen=True)
class Database:
    """A database of a test's own, whose data other processes see."""

    url: str

    def env(self, **more: str) -> dict[str, str]:
        """The environment for a process of the site that is to use this database."""
        return {**os.environ, "DATABASE_URL": self.url, "PYTHONUNBUFFERED": "1", **more}


class OwnServer:
    """A PostgreSQL of one test: what it has committed survives, as on any real one."""

    SETTINGS = {**embedded.TEST_SETTINGS, "synchronous_commit": "on"}

    def __init__(self, data: Path) -> None:
        self.data = data
        copy_cluster(data)
        self.database = Database(embedded.start(data, settings=self.SETTINGS))
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def ask(self, question: str) -> Any:
        """The first value of the first row; None while the database is away."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self.database.url, autocommit=True)
            cursor = self._connection.execute(question.encode())
            row = cursor.fetchone() if cursor.description else None
        except psycopg.OperationalError:
            self.hang_up()
            return None
        return row[0] if row else None

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def crash(self) -> None:
        """An immediate shutdown: nobody is asked, the next start recovers from the log."""
        self.hang_up()
        server = embedded.running(self.data)
        assert server
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
        embedded.start(self.data, settings=self.SETTINGS)


@contextmanager
def database_of_its_own(template: str) -> Iterator[Database]:
    """A copy of the template, which stands in the default database's place for as long as this."""
    url = embedded.with_database(template_url(), f"rollout_{uuid4().hex}")
    embedded.create_database(url, template=template)
    try:
        with in_place_of_the_default(url):
            yield Database(url)
    finally:
        embedded.drop_database(url)


@contextmanager
def in_place_of_the_default(url: str) -> Iterator[None]:
    """What Django does with its default database, it does with this one.

    Nothing is cached of another: rows of copies have the same keys, and what a busy machine was
    slow to read is kept for minutes.
    """
    from django.core.cache import cache
    from django.db import connections

    connection = connections["default"]
    assert not connection.in_atomic_block, "it cannot be used together with the fixture db"
    usual = dict(connection.settings_dict)
    there = conninfo_to_dict(url)
    connection.close()
    connection.settings_dict.update(
        NAME=there["dbname"], HOST=there.get("host", ""), PORT=there.get("port", "")
    )
    cache.clear()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(usual)
