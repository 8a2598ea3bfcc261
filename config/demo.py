"""`make demo`: the console over real listings, with everything it needs, until Ctrl-C.

Starts the database, brings it up to date, then keeps the queue's cluster, the watchdog, the web
server and a stream of application traffic running. Stops all of it on SIGINT, SIGTERM or SIGHUP,
at whatever point it is.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psycopg

from config import embedded, processes
from config.home import ROOT, Home, read_or_none, write_private
from config.variables import FRESH, MOST_COUNTED, SCENES, BadVariable, Variables

OLDEST_SERVER = 14
READY_SECONDS = 60
# How long a database may be away before it is started again: long enough to look at the page
# that says so.
DATABASE_AWAY_SECONDS = 20
TICK_SECONDS = 0.1
# The page of the rollout, where the guide is; what a scene prints before the path of another.
PAGE, SCENE_READY = "/rollout/property-classification/production/", "Scene ready: "
PAGES_READY = "readyz?exclude=worker&exclude=watchdog"


class Refused(Exception):
    """The demo cannot start as things are; the message says what to do."""


class Stopped(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM."""


class Demo:
    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self.home: Home = variables.home
        self.address = f"http://127.0.0.1:{variables.port}/"
        self.environ: dict[str, str] = {}
        self.password = ""
        self._stopping = False

    def run(self) -> None:
        """Raises Refused when the demo cannot start; returns once it is stopped."""
        self._listen_to_signals()
        with self._alone():
            self._take_over()
            try:
                self._start_database()
                self._prepare()
                self._supervise()
            except Stopped:
                say("Stopping …")
            finally:
                self._stop()
            say("Stopped.")

    # Starting

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One demo at a time in a home. The lock goes with its process, however that ends."""
        try:
            self.home.logs.mkdir(parents=True, exist_ok=True)
            lock_file = self.home.lock.open("a")
        except OSError as error:
            raise Refused(f"Cannot use ROLLOUT_HOME={self.home.path}: {error}") from error
        with lock_file as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(
                    f"A demo is already running in {self.home.path}. Stop it, or use another "
                    "directory and port: make demo ROLLOUT_HOME=… PORT=…"
                ) from None
            yield

    def _take_over(self) -> None:
        """Clears away what a killed demo left, then makes sure that the port is free."""
        if left := processes.stop_all(self.home.path):
            say(f"Stopped {left} leftover processes of a previous demo.")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.variables.port))
            except OSError as error:
                raise Refused(
                    f"Cannot use port {self.variables.port} ({error.strerror}). "
                    "Choose another: make demo PORT=8001"
                ) from error
        if self.variables.reset:
            self._forget()

    def _forget(self) -> None:
        """Removes what the demo keeps; whatever else lies in that directory stays."""
        home = self.home
        embedded.remove(home.postgres)
        for directory in (home.media, home.static, home.logs, home.snapshots):
            shutil.rmtree(directory, ignore_errors=True)
        for file in (
            home.database_url,
            home.secret_key,
            home.demo_password,
            home.listings_loading,
            home.demo_variables,
        ):
            file.unlink(missing_ok=True)
        home.logs.mkdir()

    def _start_database(self) -> None:
        if url := self.variables.database_url:
            refuse_unsuitable_server(url)
        else:
            say("Starting PostgreSQL …")
            url = embedded.start(self.home.postgres)
        write_private(self.home.database_url, url)
        self.password = kept_secret(self.home.demo_password, secrets.token_urlsafe(9))
        shared = self.variables.shared(os.environ)
        write_private(self.home.demo_variables, json.dumps(shared))
        self.environ = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONUNBUFFERED": "1",
            "ROLLOUT_HOME": str(self.home.path),
            "DATABASE_URL": url,
            "SECRET_KEY": kept_secret(self.home.secret_key, secrets.token_urlsafe(50)),
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "line"),
            "SERVE_MEDIA": "1",
            "ROLLOUT_METRICS_NETWORKS": os.environ.get("ROLLOUT_METRICS_NETWORKS", "127.0.0.1"),
            "DEMO_PASSWORD": self.password,
            "ROWS": str(self.variables.rows),
            "LISTINGS": str(self.variables.listings or ""),
            **shared,
        }
        self._heed()

    def _prepare(self) -> None:
        say("Preparing the database …")
        command = [sys.executable, "-m", "config.prepare"]
        process = processes.spawn(command, home=self.home.path, environ=self.environ, output=None)
        while (code := process.poll()) is None:
            self._wait()
        if code != 0:
            raise Refused("Database setup failed; see the error above")
        limit = self.variables.rows_per_second(count_listings(self.environ["DATABASE_URL"]))
        self.environ.setdefault("BACKFILL_ROWS_PER_SECOND", str(limit))

    # Running

    def _supervise(self) -> None:
        kept = self._processes()
        for process in kept:
            process.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise Refused(f"The web server did not start; see {self.home.logs}")
            self._look_after(kept)
        self._welcome(*self._play(kept))
        database_seen = time.monotonic()
        while True:
            self._look_after(kept)
            if self.variables.database_url or embedded.running(self.home.postgres):
                database_seen = time.monotonic()
            elif time.monotonic() - database_seen > DATABASE_AWAY_SECONDS:
                say("PostgreSQL stopped; restarting it.")
                embedded.start(self.home.postgres)

    def _play(self, kept: list[processes.Kept]) -> tuple[str, str]:
        """Sets the scene; the path of the page to begin with, and what to do there."""
        if self.variables.scene == FRESH:
            return PAGE, SCENES[FRESH].next
        say(f"Setting the scene: {self.variables.scene} …")
        play = f"from config.scenes import play; play({self.variables.scene!r})"
        log = self.home.logs / "scene.log"
        with log.open("wb") as output:
            command = [sys.executable, str(ROOT / "manage.py"), "shell", "-c", play]
            process = processes.spawn(
                command, home=self.home.path, environ=self.environ, output=output
            )
        while (path := _path_in(log)) is None and process.poll() is None:
            self._look_after(kept)
        if path := path or _path_in(log):
            return path, SCENES[self.variables.scene].next
        say(f"No scene. {log.read_text().strip().rpartition(chr(10))[2]}")
        return PAGE, SCENES[FRESH].next

    def _processes(self) -> list[processes.Kept]:
        """In the order of their start: the page is not to be there before its workers."""
        manage = [sys.executable, str(ROOT / "manage.py")]
        commands = {
            "worker": [*manage, "qcluster"],
            "watchdog": [*manage, "rollout", "watchdog"],
            "web": [
                *(sys.executable, "-m", "gunicorn", "config.wsgi", "--chdir", str(ROOT)),
                *("--bind", f"127.0.0.1:{self.variables.port}", "--no-control-socket"),
                # Loaded once, for both workers.
                *("--preload", "--workers", "2", "--worker-class", "gthread", "--threads", "4"),
                *("--graceful-timeout", "4"),
            ],
        }
        if self.variables.traffic:
            commands |= {
                "traffic": [*manage, "traffic", "--slow-until", str(self.home.slow_until)],
                "offers": [sys.executable, "-m", "offers.traffic"],
            }
        return [
            processes.Kept(
                name,
                command,
                home=self.home.path,
                log=self.home.logs / f"{name}.log",
                environ=self.environ,
            )
            for name, command in commands.items()
        ]

    def _look_after(self, kept: list[processes.Kept]) -> None:
        self._wait()
        for process in kept:
            if seen := process.look_after():
                say(seen)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}{PAGES_READY}", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _welcome(self, path: str, next_: str) -> None:
        say(
            f"""
Rollout is ready:  {self.address}{path.lstrip("/")}   (Ctrl-C stops it; your progress is kept)
Log in:            lead, password {self.password}   (lead2, engineer, viewer: the same)
Next:              {next_}
Application:       {self.address}properties/
Skip ahead:        make demo RESET=1 SCENE=backfilling | mismatches | blocked | contract
Shell, logs:       .venv/bin/python manage.py rollout list   {self.home.logs}
"""
        )

    # Stopping

    def _listen_to_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        # Under nohup the terminal may go.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, stop)

    def _wait(self) -> None:
        self._heed()
        time.sleep(TICK_SECONDS)
        self._heed()

    def _heed(self) -> None:
        """Stop if a signal asked for it, here where it is safe."""
        if self._stopping:
            raise Stopped

    def _stop(self) -> None:
        processes.stop_all(self.home.path)
        if not self.variables.database_url:
            embedded.stop(self.home.postgres)
        self.home.database_url.unlink(missing_ok=True)
        self.home.demo_variables.unlink(missing_ok=True)


def refuse_unsuitable_server(url: str) -> None:
    """Raises Refused unless `url` is a supported version of PostgreSQL."""
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        raise Refused(f"Cannot connect to DATABASE_URL: {' '.join(str(error).split())}") from error
    if version < OLDEST_SERVER * 10_000:
        raise Refused(
            f"DATABASE_URL is PostgreSQL {version // 10_000}; use {OLDEST_SERVER} or later"
        )


def count_listings(url: str) -> int:
    """The listings of a prepared database, up to MOST_COUNTED."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM (SELECT FROM properties LIMIT %s) AS p", [MOST_COUNTED]
        ).fetchone()
    return int(row[0]) if row else 0


def kept_secret(path: Path, fresh: str) -> str:
    """The secret stored in a file; `fresh` is stored the first time."""
    if (secret := read_or_none(path)) is None:
        secret = fresh
        write_private(path, secret)
    return secret


def _path_in(log: Path) -> str | None:
    """The path that the scene printed, if it has."""
    lines = log.read_text(errors="replace").splitlines()
    return next((x.removeprefix(SCENE_READY) for x in lines if x.startswith(SCENE_READY)), None)


def say(text: str) -> None:
    # The terminal may be gone; the processes must be stopped anyway.
    with contextlib.suppress(OSError):
        print(text, flush=True)


def main() -> int:
    try:
        variables = Variables.from_environ(os.environ)
    except BadVariable as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    try:
        Demo(variables).run()
    except (Refused, embedded.EmbeddedError) as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
