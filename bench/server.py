"""The benchmark's own PostgreSQL, with the settings that initdb chooses, and databases in it."""

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg

from config import embedded, processes

LAST_LINES = 20
"""Of a log, when something has failed."""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Database:
    """A database of the benchmark's server, and the directory for what its processes write."""

    url: str
    home: Path

    @property
    def name(self) -> str:
        return embedded.database_name(self.url)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """An autocommitting connection."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process of the site that is to use this database."""
        return {**os.environ, "DATABASE_URL": self.url}


@contextmanager
def server() -> Iterator[Database]:
    """A running server; it, its directory and every process started beside it go with the block."""
    home = Path(tempfile.mkdtemp(prefix="rollout-bench-"))
    # The server may run as another user than we do.
    home.chmod(0o711)
    data = home / "postgres"
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup a hang-up must be ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield Database(embedded.start(data, settings={}), home)
    except Exception:
        # The directory goes, and with it what the processes had to say about it.
        for log in (data / "log", home / "site.log"):
            _print_end_of(log)
        raise
    finally:
        # An impatient second Ctrl-C would leave the server behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        processes.stop_all(home)
        embedded.remove(data)
        shutil.rmtree(home, ignore_errors=True)


def _print_end_of(log: Path) -> None:
    if log.exists():
        last = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        print(f"{log.name}:", *last, sep="\n", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def create(beside: Database, name: str, *, template: str | None = None) -> Database:
    """Make a database on the same server, as a copy of another one where that is named."""
    url = embedded.with_database(beside.url, name)
    embedded.create_database(url, template=template)
    return Database(url, beside.home)


@contextmanager
def copy_of(template: Database) -> Iterator[Database]:
    """A fresh copy, with nothing left to be written to disk; dropped afterwards."""
    copy = create(template, f"copy_{secrets.token_hex(4)}", template=template.name)
    try:
        with copy.connect() as connection:
            connection.execute("CHECKPOINT")
        yield copy
    finally:
        embedded.drop_database(copy.url)


def set_up_django(database: Database) -> None:
    """Let Django, in this process and in those it starts, read the benchmark's settings."""
    os.environ.update(
        {
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DATABASE_URL": database.url,
            "SECRET_KEY": secrets.token_hex(16),
            "ROLLOUT_HOME": str(database.home / "site"),
            "LOG_LEVEL": "WARNING",
        }
    )
    import django

    django.setup()
    logging.getLogger("django-q").setLevel(logging.WARNING)


@contextmanager
def django_uses(database: Database) -> Iterator[None]:
    """Point Django's connection in this process at another database of the server."""
    from django.db import connection

    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = database.name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
