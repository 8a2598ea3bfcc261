"""The oldest PostgreSQL of the system's packages, with a cluster of a test's own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config import embedded, server_user
from rollout.engine.target import Target
from tests.support.servers import copy_cluster

INSTALLED = Path("/usr/lib/postgresql")
OLDEST_KNOWN = 14


def programs() -> Path:
    """The directory of its programs; without one the test is skipped, in CI it fails."""
    versions = sorted(
        int(path.parent.parent.name)
        for path in INSTALLED.glob("*/bin/initdb")
        if path.parent.parent.name.isdigit() and int(path.parent.parent.name) >= OLDEST_KNOWN
    )
    if versions:
        return INSTALLED / str(versions[0]) / "bin"
    reason = f"there is no PostgreSQL below {INSTALLED}: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def old_server() -> Iterator[Target]:
    """A server of that version; it and its files are gone afterwards."""
    bin_ = programs()
    home = Path(tempfile.mkdtemp(prefix="rollout-old-"))
    home.chmod(0o711)
    data = home / "postgres"

    def make(draft: Path) -> None:
        _run(
            *(bin_, "initdb", "-D", draft, "-U", "postgres", "--auth=trust", "--no-sync"),
            *("-E", "UTF8"),
        )

    try:
        copy_cluster(data, name="old-cluster", make=make)
        lines = (
            f"{name} = '{value}'\n"
            for name, value in {
                **embedded.TEST_SETTINGS,
                "listen_addresses": "",
                # Compiling takes longer than any statement over so few rows.
                "jit": "off",
                "timezone": "UTC",
                "unix_socket_directories": data,
            }.items()
        )
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(lines)
        _run(bin_, "pg_ctl", "start", "-D", data, "-l", data / "log", "-w")
        yield Target({"user": "postgres", "dbname": "postgres", "host": str(data)})
    finally:
        _run(bin_, "pg_ctl", "stop", "-D", data, "-m", "immediate", "-w", check=False)
        shutil.rmtree(home, ignore_errors=True)


def _run(bin_: Path, name: str, *arguments: object, check: bool = True) -> None:
    subprocess.run(
        [bin_ / name, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        check=check,
        **server_user.run_as(),
    )
