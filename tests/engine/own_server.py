"""A PostgreSQL of a test module's own, where the shared one lacks a setting."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg import conninfo

from config import embedded, server_user
from rollout.engine.target import Target
from tests.support.servers import copy_cluster


@contextmanager
def server(settings: Mapping[str, str]) -> Iterator[tuple[Target, Path]]:
    """A server with more settings than the tests' usual ones, and the directory of its files."""
    home = Path(tempfile.mkdtemp(prefix="rollout-server-"))
    home.chmod(0o711)
    data = home / "postgres"
    try:
        copy_cluster(data)
        url = embedded.start(data, settings={**embedded.TEST_SETTINGS, **settings})
        yield Target(conninfo.conninfo_to_dict(url)), data
    finally:
        embedded.remove(data)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def replica_of(primary: Target, settings: Mapping[str, str]) -> Iterator[Target]:
    """A streaming replica of a server."""
    home = Path(tempfile.mkdtemp(prefix="rollout-replica-"))
    home.chmod(0o711)
    data = home / "postgres"
    server_user.own(data)
    try:
        embedded._run(
            *("pg_basebackup", "-D", data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"),
            *("-h", primary.parameters["host"], "-U", primary.parameters["user"]),
        )
        # The primary's socket lies among the files, and its lock was copied with them.
        (data / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        url = embedded.start(data, settings={**embedded.TEST_SETTINGS, **settings})
        yield Target(conninfo.conninfo_to_dict(url))
    finally:
        embedded.remove(data)
        shutil.rmtree(home, ignore_errors=True)
