"""Hosts for processes of the site, which can be cut off from everything else, and come back.

Where the machine allows it each is a network namespace with a cable of its own to us, and the cable
is pulled. Elsewhere its processes stand still, all at once: what the others see is the same.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import randrange

import psutil

from config.home import ROOT
from tests.support.processes import Running, stopped_after


def namespaces_are_allowed() -> bool:
    """Whether this machine lets us make network namespaces, and cables between them."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    with ExitStack() as ends, suppress(subprocess.CalledProcessError):
        ends.enter_context(_cable("try", randrange(1, 250)))
        return True
    return False


@contextmanager
def _cable(name: str, number: int) -> Iterator[str]:
    """A namespace and a cable to it; the name of the cable's end with us."""
    space, ours, theirs = f"rollout-{number}", f"ro{number}", f"rt{number}"
    _ip("netns", "add", space)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", space)
        _ip("address", "add", f"10.231.{number}.1/24", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", space, "address", "add", f"10.231.{number}.2/24", "dev", theirs)
        _ip("-n", space, "link", "set", theirs, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        yield ours
    finally:
        # The cable goes with it.
        _ip("netns", "delete", space)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Host:
    """A machine by the name that its processes know it by."""

    def __init__(self, name: str, env: Mapping[str, str], logs: Path, ends: ExitStack) -> None:
        self.name = name
        self.env = env
        self.processes: dict[str, Running] = {}
        self._logs = logs
        self._ends = ends
        self._prefix: tuple[str, ...] = ()
        self.address = "127.0.0.1"

    def start(self, what: str, *command: str) -> Running:
        """Run a command here, until the test ends."""
        running = Running(
            [*self._prefix, sys.executable, *command],
            env=self.env,
            log=self._logs / f"{self.name}-{what}.log",
        )
        self.processes[what] = self._ends.enter_context(stopped_after(running))
        return running

    def manage(self, what: str, *arguments: str) -> Running:
        return self.start(what, str(ROOT / "manage.py"), *arguments)

    def runs(self, worker: str) -> bool:
        """Whether a process that calls itself "host:pid" is one of ours."""
        with suppress(ProcessLookupError):
            session = os.getsid(int(worker.rpartition(":")[2] or 0))
            return session in {member.pid for member in self.processes.values()}
        return False

    def output(self) -> str:
        return "\n".join(
            f"{n}: {process.output()[-2000:]}" for n, process in self.processes.items()
        )

    def stop(self) -> None:
        """Ask every main process to end; who does not is killed with the test."""
        for main in self.processes.values():
            if main.process.poll() is None:
                main.process.send_signal(signal.SIGTERM)

    def cut_off(self) -> None:
        """Everything stands still."""
        self._signal(signal.SIGSTOP)

    def come_back(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for leader in self.processes.values():
            for process in leader.session():
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


class CabledHost(Host):
    """A host with a network of its own: it keeps working, and reaches nobody."""

    def __init__(
        self, name: str, env: Mapping[str, str], logs: Path, ends: ExitStack, *, number: int
    ) -> None:
        super().__init__(name, env, logs, ends)
        self._ours = ends.enter_context(_cable(name, number))
        self.address = f"10.231.{number}.2"
        # A name of its own too, and the same process to be signalled as to be waited for.
        self._prefix = (
            *("ip", "netns", "exec", f"rollout-{number}"),
            *("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name),
        )

    def cut_off(self) -> None:
        _ip("link", "set", self._ours, "down")

    def come_back(self) -> None:
        _ip("link", "set", self._ours, "up")


@contextmanager
def forwarded(path: str) -> Iterator[int]:
    """The port, on every address of ours, at which a server on a Unix socket can be reached.

    The server notices nothing of a cable that is pulled, as one does not for hours.
    """
    listener = socket.create_server(("", 0), backlog=64)
    ended = threading.Event()

    def carry(first: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := first.recv(65536):
                other.sendall(data)
        for end in (first, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(path)
            except OSError as error:
                if not ended.is_set():
                    print(f"not forwarded: {error}", file=sys.stderr)
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.close()
