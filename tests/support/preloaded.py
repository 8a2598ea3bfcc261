"""Processes of the site that are forks of one in which it is loaded already.

To start Python and Django takes half a second of a core, and a run starts hundreds of processes.
Each one here is a real one, in a session of its own, with manage.py or a module as its main
program; all that it inherits is modules. Where its variables or settings differ in what those may
have read, it replaces itself by a fresh Python.

As a program (``python -m tests.support.preloaded DESCRIPTOR``) this is the process that is forked.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import IO, Any, NoReturn

from config.home import ROOT

# Settings that no module reads when it is imported, or in an app's `ready`.
READ_LATE = {"DATABASES", "DATABASE_URL", "GIVEN", "LOGGING", "SERVE_MEDIA"}
# How variables begin that Python has read before it runs anything.
READ_AT_ONCE = ("DJANGO_SETTINGS_MODULE", "LANG", "LC_", "LD_", "PYTHON")
# What commands need beside the apps themselves.
MODULES = (
    "django.core.wsgi",
    "django_q.cluster",
    "django_q.management.commands.qcluster",
    "properties.management.commands.traffic",
    "rollout.management.commands.rollout",
    "rollout.tasks",
    "rollout.watchdog.loop",
)
# Of a request: where it runs, its variables and the arguments of Python. A message has room for it.
LARGEST = 150_000


class Forked:
    """A forked process, as far as tests use what `subprocess.Popen` has."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = end

    def poll(self) -> int | None:
        return self._waited(0)

    def wait(self, timeout: float | None = None) -> int:
        if (status := self._waited(timeout)) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _waited(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = int(self._end.recv(64))
            self._end.close()
        return self.returncode


class Preloaded:
    """The process that is forked, as the tests see it: started when it is first needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: socket.socket | None = None

    def start(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        output: IO[Any],
        errors: IO[Any],
        directory: str = str(ROOT),
    ) -> Forked:
        """A process of Python with these arguments: a program's path first, or -m and a module."""
        request = json.dumps([directory, dict(env), list(arguments)]).encode()
        assert len(request) < LARGEST, "the variables of this process are too many"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._lock, theirs:
            descriptors = [theirs.fileno(), output.fileno(), errors.fileno()]
            socket.send_fds(self._connected(), [request], descriptors)
            # While nobody else may start the forked process.
            pid = int(ours.recv(64) or 0)
        assert pid, "the process that is forked has ended"
        return Forked(pid, ours)

    def _connected(self) -> socket.socket:
        if self._requests is None:
            self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                # It ends when this process does, whose end of the socket is closed then.
                process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            atexit.register(_end, self._requests, process)
        return self._requests


def _end(requests: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    requests.close()
    process.wait()


def serve(requests: socket.socket) -> Sequence[str] | None:
    """Forks a process for each request; in each of them, the arguments of its program.

    In the process that is forked: None, when nobody can request anything any more.
    """
    children: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_ends(children)
        if requests not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            return None
        end = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (requests, woken, wakes, end, *children.values()):
                inherited.close()
            return _become(message, *descriptors[1:])
        end.send(str(pid).encode())
        children[pid] = end
        for descriptor in descriptors[1:]:
            os.close(descriptor)


def _tell_ends(children: dict[int, socket.socket]) -> None:
    """Tell the tests which processes have ended, and with which status."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as end:
            end.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(message: bytes, output: int, errors: int) -> Sequence[str]:
    """Be the process that was requested; its arguments."""
    directory, env, arguments = json.loads(message)
    os.setsid()
    os.chdir(directory)
    for descriptor, standard in ((output, 1), (errors, 2)):
        os.dup2(descriptor, standard)
    for descriptor in {output, errors}:
        os.close(descriptor)
    before = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_ONCE)}
    if before != {name: value for name, value in env.items() if name.startswith(READ_AT_ONCE)}:
        _replace(arguments, env)
    os.environ.clear()
    os.environ.update(env)
    if not _take_settings():
        _replace(arguments, env)
    tempfile.tempdir = None
    return list(arguments)


def _replace(arguments: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(sys.executable, [sys.executable, *arguments], env)  # noqa: S606


def _take_settings() -> bool:
    """Take the settings of this process's variables; False if modules have read others."""
    from django import conf
    from django.db import connections
    from django.utils.log import configure_logging

    settings: Any = conf.settings
    read = settings._wrapped
    before = _names(sys.modules.pop("config.settings"))
    try:
        taken: Any = conf.Settings("config.settings")
    except Exception:  # A fresh Python says so in its own way.
        return False
    after = _names(sys.modules["config.settings"])
    if any(before.get(name) != after.get(name) for name in {*before, *after} - READ_LATE):
        return False
    for name in {*vars(read)} - {*vars(taken)}:  # An app's own defaults.
        setattr(taken, name, getattr(read, name))
    settings._wrapped = taken
    for connection in connections.all(initialized_only=True):
        assert connection.connection is None, "a forked process has no connection"
        del connections[connection.alias]
    connections.__dict__.update(_settings=None)
    connections.__dict__.pop("settings", None)
    configure_logging(taken.LOGGING_CONFIG, taken.LOGGING)
    return True


def _names(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


def run(arguments: Sequence[str]) -> None:
    """Run the program as Python does with these arguments."""
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    import django

    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = str(ROOT)
    django.setup()
    for module in MODULES:
        import_module(module)
    gc.collect()
    gc.freeze()
    arguments = serve(requests)
    if arguments is not None:
        gc.unfreeze()
        run(arguments)


preloaded = Preloaded()

if __name__ == "__main__":
    main()
