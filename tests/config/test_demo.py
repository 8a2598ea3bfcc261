"""`make demo`, really run: what it starts, what it prints, and that nothing is left of it."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import psycopg
import pytest

from config import embedded
from config.home import ROOT, Home, read_or_none
from config.processes import marked
from config.variables import MOST_COUNTED, Variables
from tests.support.processes import Running, answers, completed, free_port, wait_until
from tests.support.servers import Database

# Each of these starts everything there is: one after the other, in one worker.
pytestmark = pytest.mark.xdist_group("demo")

START_SECONDS = 120
COMMAND = [sys.executable, "-m", "config.demo"]


def environ(**variables: str) -> dict[str, str]:
    """What a person's shell has: none of the test run's own settings."""
    ours = {"DATABASE_URL", "SECRET_KEY", "ROLLOUT_HOME", "ROLLOUT_TESTING", "LOG_LEVEL"}
    return {name: value for name, value in os.environ.items() if name not in ours} | variables


class Demo:
    """One home, in which the demo is started as often as a test wants."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory / "home")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = directory / "output"
        self.running: Running | None = None

    def start(self, **variables: str) -> Running:
        given = {"ROWS": "200", "PORT": str(self.port), "ROLLOUT_HOME": str(self.home.path)}
        self.log.unlink(missing_ok=True)
        self.running = Running(COMMAND, env=environ(**given | variables), log=self.log)
        return self.running

    def start_and_wait(self, **variables: str) -> Running:
        running = self.start(**variables)
        running.wait_for(lambda: "is ready" in running.output(), seconds=START_SECONDS)
        return running

    def stop(self) -> int:
        """As a service manager does; its exit status."""
        assert self.running
        return self.running.stop(signal.SIGTERM)

    def url(self) -> str:
        return read_or_none(self.home.database_url) or ""

    def processes(self) -> list[psutil.Process]:
        server = embedded.running(self.home.postgres)
        return marked(self.home.path) + ([server] if server else [])

    def process(self, *words: str) -> psutil.Process:
        """The main process whose command line has these words."""
        return next(
            process
            for process in marked(self.home.path)
            if os.getsid(process.pid) == process.pid and set(words) <= set(process.cmdline())
        )

    def clear_away(self) -> None:
        if self.running:
            self.running.stop(signal.SIGTERM)
        for process in self.processes():
            process.kill()
        embedded.remove(self.home.postgres)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo that tests start, look at and stop one after the other."""
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.clear_away()


@pytest.fixture
def ready(shared: Demo) -> Demo:
    """A demo that runs: as the test before left it, or started now."""
    if shared.running is None or shared.running.process.poll() is not None:
        shared.start_and_wait()
    return shared


@pytest.fixture
def new_demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo without a home yet."""
    demo = Demo(tmp_path)
    yield demo
    demo.clear_away()


def printed_password(demo: Demo) -> str:
    line = re.search(r"password\s+(\S+)", demo.log.read_text())
    assert line
    return line[1]


def log_in(demo: Demo, name: str, password: str) -> str:
    """Logs in as a browser does; gives the address where it ends up."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    form = browser.open(f"{demo.address}/accounts/login/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token
    fields = {"username": name, "password": password, "csrfmiddlewaretoken": token[1]}
    answer = browser.open(
        f"{demo.address}/accounts/login/", urllib.parse.urlencode(fields).encode()
    )
    return str(answer.geturl())


def test_the_demo_says_that_it_is_ready_once_its_workers_are(ready: Demo) -> None:
    assert answers(f"{ready.address}/healthz")
    wait_until(lambda: answers(f"{ready.address}/readyz"))
    assert answers(f"{ready.address}/metrics")


@pytest.mark.parametrize("name", ["lead", "lead2", "engineer", "viewer"])
def test_the_printed_password_logs_every_user_in(ready: Demo, name: str) -> None:
    assert log_in(ready, name, printed_password(ready)) == f"{ready.address}/rollout/"
    assert log_in(ready, name, "another").endswith("/accounts/login/")


def test_the_shell_uses_the_same_database_with_no_settings_but_the_home(ready: Demo) -> None:
    listed = subprocess.run(
        [sys.executable, ROOT / "manage.py", "rollout", "list", "--json"],
        env=environ(ROLLOUT_HOME=str(ready.home.path)),
        capture_output=True,
        check=True,
    )
    names = re.findall("property-classification|offer-prices", listed.stdout.decode())
    assert list(dict.fromkeys(names)) == ["property-classification", "offer-prices"]


def test_secrets_are_for_their_owner_only(ready: Demo) -> None:
    for path in (ready.home.database_url, ready.home.secret_key, ready.home.demo_password):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_process_that_dies_is_started_again(ready: Demo) -> None:
    first = ready.process("rollout", "watchdog")
    first.kill()
    wait_until(lambda: "watchdog exited (signal 9); restarting" in ready.log.read_text())

    def another_runs() -> bool:
        try:
            return ready.process("rollout", "watchdog") != first
        except StopIteration:
            return False

    wait_until(another_runs)


def test_a_second_demo_in_the_same_home_is_refused(ready: Demo) -> None:
    environment = environ(ROLLOUT_HOME=str(ready.home.path), PORT=str(free_port()))
    second = subprocess.run(COMMAND, env=environment, cwd=ROOT, capture_output=True, check=False)
    assert second.returncode == 1
    assert b"A demo is already running in" in second.stderr
    assert answers(f"{ready.address}/readyz?exclude=worker&exclude=watchdog")


def test_sigterm_leaves_no_process_and_the_next_start_continues(ready: Demo) -> None:
    password = printed_password(ready)
    with psycopg.connect(ready.url()) as connection:
        connection.execute("UPDATE properties SET title = 'kept' WHERE true")
    assert ready.stop() == 0
    assert ready.processes() == []
    assert not ready.home.database_url.exists()

    ready.start_and_wait(TRAFFIC="0")
    assert printed_password(ready) == password
    with psycopg.connect(ready.url()) as connection:
        titles = connection.execute(
            "SELECT count(*) FROM properties WHERE title = 'kept'"
        ).fetchone()
        assert titles
        assert titles[0] >= 200
        assert connection.execute("SELECT count(*) >= 4000 FROM offers").fetchone() == (True,)
    traffic = {"traffic", "offers.traffic"}
    assert not [process for process in ready.processes() if traffic & set(process.cmdline())]


def test_processes_of_a_killed_demo_are_stopped_at_the_next_start(ready: Demo) -> None:
    assert ready.running
    ready.running.process.kill()
    ready.running.process.wait()
    left = marked(ready.home.path)
    assert left

    ready.start_and_wait(TRAFFIC="0")
    assert not [process for process in left if process.is_running()]
    assert answers(f"{ready.address}/readyz?exclude=worker&exclude=watchdog")


@pytest.mark.parametrize("moment", ["Starting PostgreSQL", "Preparing the database"])
def test_ctrl_c_while_it_starts_leaves_no_process(new_demo: Demo, moment: str) -> None:
    running = new_demo.start()
    running.wait_for(lambda: moment in running.output())
    # A terminal's Ctrl-C reaches the whole process group.
    os.killpg(running.pid, signal.SIGINT)
    assert running.process.wait(60) == 0
    assert "Stopped." in running.output()
    assert new_demo.processes() == []


def test_reset_begins_again_and_spares_what_is_not_its_own(ready: Demo) -> None:
    (ready.home.path / "notes.txt").write_text("mine")
    assert ready.stop() == 0
    ready.start_and_wait(TRAFFIC="0", ROWS="7", RESET="1")
    with psycopg.connect(ready.url()) as connection:
        assert connection.execute("SELECT count(*) FROM properties").fetchone() == (7,)
    assert (ready.home.path / "notes.txt").read_text() == "mine"


def test_a_database_that_went_away_comes_back(ready: Demo) -> None:
    running = ready.running
    assert running
    embedded.stop(ready.home.postgres)
    assert not answers(f"{ready.address}/readyz?exclude=worker&exclude=watchdog")
    running.wait_for(lambda: "PostgreSQL stopped; restarting it." in running.output(), seconds=60)
    running.wait_for(lambda: answers(f"{ready.address}/readyz?exclude=worker&exclude=watchdog"))


def test_another_postgresql_can_be_used(committed_db: Database, new_demo: Demo) -> None:
    new_demo.start_and_wait(DATABASE_URL=committed_db.url, TRAFFIC="0")
    assert not new_demo.home.postgres.exists()
    with psycopg.connect(committed_db.url) as connection:
        assert connection.execute("SELECT count(*) FROM properties").fetchone() == (200,)


def refused(tmp_path: Path, **variables: str) -> tuple[int, str]:
    """Exit code and error of a demo that does not start."""
    done = completed(
        COMMAND, env=environ(**{"ROLLOUT_HOME": str(tmp_path / "home")} | variables), timeout=30
    )
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "abc"}, "PORT must be an integer from 1 to 65535, not 'abc'"),
        ({"PORT": "65536"}, "PORT must be"),
        ({"ROWS": "-1"}, "ROWS must be an integer"),
        ({"ROWS": "1e3"}, "ROWS must be an integer"),
        ({"LISTINGS": "/no/such.csv"}, "/no/such.csv cannot be read: No such file"),
        ({"LISTINGS": "/"}, "cannot be read: Is a directory"),
        ({"TRAFFIC": "no"}, "TRAFFIC must be 0 or 1"),
        ({"RESET": "2"}, "RESET must be 0 or 1"),
        ({"STRICT": "yes"}, "STRICT must be 0 or 1"),
        ({"SCENE": "finale"}, "SCENE must be fresh, backfilling, mismatches, blocked or contract"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL must begin with postgresql://"),
        ({"DATABASE_URL": "postgresql:///x", "RESET": "1"}, "RESET=1 resets the embedded"),
    ],
    ids=lambda value: (
        " ".join(f"{n}={v}" for n, v in value.items()) if isinstance(value, dict) else None
    ),
)
def test_a_value_that_cannot_be_meant_gets_one_clear_line(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    code, error = refused(tmp_path, **variables)
    assert code == 2
    assert message in error
    assert not (tmp_path / "home").exists()


def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = refused(tmp_path, PORT=str(port))
    assert code == 1
    assert f"Cannot use port {port}" in error
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_server_that_does_not_answer_is_reported_in_one_line(tmp_path: Path) -> None:
    code, error = refused(
        tmp_path, DATABASE_URL=f"postgresql:///x?host={tmp_path}", PORT=str(free_port())
    )
    assert code == 1
    assert "Cannot connect to DATABASE_URL" in error


@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        ({}, 1112),
        ({"SCENE": "backfilling"}, 278),
        ({"SCENE": "contract"}, 0),
        ({"STRICT": "1"}, 0),
    ],
)
def test_a_backfill_takes_its_time_with_any_number_of_rows(
    variables: dict[str, str], limit: int
) -> None:
    demo = Variables.from_environ(variables)
    assert demo.rows_per_second(50_000) == limit
    assert demo.rows_per_second(500_000) // 10 in (limit, limit - 1)
    assert demo.rows_per_second(MOST_COUNTED) == 0
