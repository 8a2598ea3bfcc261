"""The embedded PostgreSQL: it starts whatever it finds, and stops without a trace."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from config import embedded, server_user
from tests.support.servers import copy_cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where a server will have its files."""
    directory = tmp_path / "postgres"
    yield directory
    embedded.remove(directory)


@pytest.fixture
def data(place: Path) -> Path:
    """The files of a server that has not been started yet."""
    copy_cluster(place)
    return place


def start(data: Path) -> str:
    return embedded.start(data, settings=embedded.TEST_SETTINGS)


def server(data: Path) -> psutil.Process:
    process = embedded.running(data)
    assert process
    return process


def test_the_server_sorts_and_encodes_alike_on_every_machine(place: Path) -> None:
    with psycopg.connect(start(place)) as connection:
        order = connection.execute(
            "SELECT datlocprovider::text, datlocale, pg_encoding_to_char(encoding)"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert order == ("b", "C.UTF-8", "UTF8")


def test_the_server_belongs_to_no_terminal_and_listens_on_no_port(data: Path) -> None:
    with psycopg.connect(start(data)) as connection:
        listening = connection.execute("SHOW listen_addresses").fetchone()
    assert listening == ("",)
    assert os.getsid(server(data).pid) != os.getsid(0)


def test_starting_a_server_that_runs_changes_nothing(data: Path) -> None:
    url = start(data)
    process = server(data)
    assert start(data) == url
    assert server(data) == process


def test_the_server_starts_again_after_a_crash_with_all_that_was_committed(data: Path) -> None:
    # With the demo's settings: the tests' own let the last commits go with a crash.
    with psycopg.connect(embedded.start(data)) as connection:
        connection.execute("CREATE TABLE kept ()")
    process = server(data)
    process.kill()
    process.wait()
    with psycopg.connect(start(data)) as connection:
        connection.execute("SELECT FROM kept")


def test_a_pid_file_that_names_somebody_else_is_no_obstacle(data: Path) -> None:
    start(data)
    embedded.stop(data)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    assert embedded.running(data) is None
    start(data)
    assert server(data).pid != os.getpid()


def test_an_interrupted_initdb_is_begun_again(place: Path) -> None:
    draft = place.with_name("postgres.new")
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    start(place)
    assert not draft.exists()


@pytest.mark.parametrize("name", ["x" * 120, "it's, here & there"])
def test_a_directory_of_any_name_will_do(tmp_path: Path, name: str) -> None:
    data = tmp_path / name / "postgres"
    try:
        with psycopg.connect(start(data)) as connection:
            connection.execute("SELECT")
    finally:
        embedded.remove(data)


def test_the_error_of_a_server_that_cannot_start_is_passed_on(data: Path) -> None:
    with pytest.raises(embedded.EmbeddedError, match="shared_buffers"):
        embedded.start(data, settings={"shared_buffers": "very much"})


def test_stopping_what_does_not_run_does_nothing(data: Path) -> None:
    embedded.stop(data)
    start(data)
    embedded.stop(data)
    embedded.stop(data)
    assert embedded.running(data) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_root_lets_the_server_pass_through_private_directories_and_nobody_else(
    tmp_path: Path,
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    data = private / "postgres"
    try:
        start(data)
        embedded.stop(data)
        # What a chmod does to an access list must not lock the server out.
        private.chmod(0o700)
        start(data)
        assert server(data).username() == server_user.NAME
        assert private.stat().st_mode & 0o007 == 0
    finally:
        embedded.remove(data)
