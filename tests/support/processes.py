"""Processes of the site, run for a test and stopped after it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from config.home import ROOT
from rollout.engine.shared_connections import shared_connections
from tests.support.preloaded import Forked, Preloaded, preloaded_for

STOP_SECONDS = 10
# Seconds for which something is waited for on a machine that has much else to do.
PATIENCE = 60.0


def completed(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    check: bool = False,
    timeout: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, and keeps what it prints."""
    return subprocess.run(
        command, env=env, cwd=cwd, check=check, timeout=timeout, capture_output=True, text=True
    )


class Running:
    """A process in a session of its own, with its output in a file."""

    process: "subprocess.Popen[bytes] | Forked"

    def __init__(
        self,
        command: list[str],
        *,
        env: Mapping[str, str],
        log: Path,
        directory: Path = ROOT,
        fork_of: Preloaded | None = None,
    ) -> None:
        """A command; one that begins with this Python can be a fork."""
        self.log = log
        with log.open("ab") as output:
            if fork_of is not None:
                self.process = fork_of.start(
                    command[1:], env=env, output=output, errors=output, directory=str(directory)
                )
                return
            self.process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Signals the main process alone; whatever is there after a while is killed."""
        session = self.session()
        if self.process.poll() is None:
            self.process.send_signal(sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        for process in {*session, *self.session()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return self.process.wait()

    def session(self) -> list[psutil.Process]:
        """The main process and all that it started, as far as they live."""
        return [process for process in psutil.process_iter() if _session(process) == self.pid]

    def wait_for(self, is_so: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Waits until something is so; fails with the process's output when it ends before."""
        wait_until(
            lambda: is_so() or self.process.poll() is not None, seconds=seconds, seen=self.output
        )
        assert is_so(), f"it ended with {self.process.poll()}:\n{self.output()}"


def manage_process(*arguments: str, env: Mapping[str, str], log: Path) -> Running:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return Running(command, env=env, log=log, fork_of=preloaded_for(env))


@contextlib.contextmanager
def stopped_after(running: Running) -> Iterator[Running]:
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def web_server(env: Mapping[str, str], *, log: Path) -> Iterator[str]:
    """A real web server; its address (`http://127.0.0.1:port`)."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--no-control-socket", "--worker-class", "gthread", "--threads", "4"),
        *("--graceful-timeout", "2"),
    ]
    with stopped_after(Running(command, env=env, log=log, fork_of=preloaded_for(env))) as server:
        address = f"http://127.0.0.1:{port}"
        server.wait_for(lambda: answers(f"{address}/healthz"))
        yield address


def wait_until(
    is_so: Callable[[], bool], *, seconds: float = PATIENCE, seen: Callable[[], str] = lambda: ""
) -> None:
    """Polls a condition outside this process; fails with what was `seen` when time is up."""
    deadline = time.monotonic() + seconds
    # To connect for each look would keep a core half busy where several tests wait.
    with shared_connections():
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"not so within {seconds} s:\n{seen()}")
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Does a GET of the address give 200?"""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None
