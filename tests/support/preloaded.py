"""Processes that are forks of one in which the site, or what projects install, is loaded already.

To start Python and Django takes half a second of a core, and a run starts hundreds of processes.
Each one here is a real one, in a session of its own, with manage.py or a module as its main
program; all that it inherits is modules. Where its variables or settings differ in what those may
have read, it replaces itself by a fresh Python.

As a program (``python -m tests.support.preloaded DESCRIPTOR KIND``) this is the process that is
forked.
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
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import IO, Any, NoReturn

from config.home import ROOT
from tests.support import intervals

Variables = Mapping[str, str]
# Takes the variables of a request, unless they need a fresh Python.
Takes = Callable[[Variables], bool]
SITE, PROJECT = "site", "project"
# Settings that no module reads when it is imported, or in an app's `ready`.
READ_LATE = {"DATABASES", "DATABASE_URL", "GIVEN", "LOGGING", "SERVE_MEDIA"}
# The same of a project; its apps are loaded again.
READ_LATE_OF_PROJECTS = {"BASE_DIR", "DATABASES", "INSTALLED_APPS", "STORAGES"}
# How variables begin that Python has read before it runs anything.
READ_AT_ONCE = ("DJANGO_SETTINGS_MODULE", "LANG", "LC_", "LD_", "PYTHON")
# What commands need beside the apps themselves. Those that check the whole site load its addresses.
MODULES = (
    "config.demo_accounts",
    "django.core.wsgi",
    "django_q.cluster",
    "django_q.management.commands.qcluster",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "properties.management.commands.traffic",
    "properties.urls",
    "rollout.console.urls",
    "rollout.health.urls",
    "rollout.management.commands.rollout",
    "rollout.tasks",
    "rollout.watchdog.loop",
)
# What commands of projects need beside the apps themselves.
MODULES_OF_PROJECTS = (
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.management.commands.test",
    "django.db.backends.postgresql.base",
    "django.forms",
    "django.template.defaulttags",
    "django.views.generic",
    "django_htmx.middleware",
    "prometheus_client",
    "rapidfuzz",
    "rollout.engine.audit",
    "rollout.engine.backfill",
    "rollout.engine.catalog",
    "rollout.plan",
)
# Variables of a project's processes that Python has read, and that can be made good for.
MADE_GOOD = (
    "DJANGO_SETTINGS_MODULE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
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

    def __init__(self, kind: str, **variables: str) -> None:
        self._kind = kind
        self._variables = variables
        self._lock = Lock()
        self._requests: socket.socket | None = None

    def start(
        self,
        arguments: Sequence[str],
        *,
        env: Variables,
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
                    [sys.executable, "-m", __name__, str(theirs.fileno()), self._kind],
                    env={**os.environ, **self._variables, "PYTHONUNBUFFERED": "1"},
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


def serve(requests: socket.socket, takes: Takes) -> Sequence[str] | None:
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
            return _become(message, takes, *descriptors[1:])
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


def _become(message: bytes, takes: Takes, output: int, errors: int) -> Sequence[str]:
    """Be the process that was requested; its arguments."""
    directory, env, arguments = json.loads(message)
    os.setsid()
    os.chdir(directory)
    for descriptor, standard in ((output, 1), (errors, 2)):
        os.dup2(descriptor, standard)
    for descriptor in {output, errors}:
        os.close(descriptor)
    if not takes(env):
        _replace(arguments, env)
    tempfile.tempdir = None
    return list(arguments)


def _replace(arguments: Sequence[str], env: Variables) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    program = ["-m", intervals.__name__, *arguments] if intervals.VARIABLE in env else arguments
    os.execve(sys.executable, [sys.executable, *program], env)  # noqa: S606


def _take_variables(env: Variables, *, but: Sequence[str] = ()) -> bool:
    """Take these variables; False if Python has read others, but for some."""
    before, after = (
        {name: v for name, v in of.items() if name.startswith(READ_AT_ONCE) and name not in but}
        for of in (os.environ, env)
    )
    os.environ.clear()
    os.environ.update(env)
    return before == after


def become_site(env: Variables) -> bool:
    """Be a process of the site; False if it has to be a fresh Python."""
    return _take_variables(env) and _take_settings(READ_LATE)


def become_project(env: Variables) -> bool:
    """Be a process of another project; False if it has to be a fresh Python."""
    from django.apps import apps
    from django.conf import settings

    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    loaded = {*settings.INSTALLED_APPS}
    del sys.modules["company"]
    if not (_take_variables(env, but=MADE_GOOD) and _take_settings(READ_LATE_OF_PROJECTS)):
        return False
    if not loaded <= {*settings.INSTALLED_APPS}:
        return False
    apps.set_installed_apps(settings.INSTALLED_APPS)
    return True


def _load_project() -> None:
    """Load what the projects of tests install, as one without an app of its own."""
    import django

    from tests.support.django_projects import SETTINGS, database_of

    with tempfile.TemporaryDirectory() as directory:
        company = Path(directory) / "company"
        company.mkdir()
        (company / "__init__.py").touch()
        (company / "settings.py").write_text(SETTINGS.replace(', "shop"', ""))
        sys.path.insert(0, directory)
        os.environ["DATABASE"] = json.dumps(database_of("dbname=none"))
        os.environ["DJANGO_SETTINGS_MODULE"] = "company.settings"
        django.setup()
        sys.path.remove(directory)


def _take_settings(read_late: Collection[str]) -> bool:
    """Take the settings of this process's variables; False if modules have read others."""
    from django import conf
    from django.db import connections
    from django.utils.log import configure_logging

    settings: Any = conf.settings
    read, module = settings._wrapped, os.environ["DJANGO_SETTINGS_MODULE"]
    if module not in sys.modules:
        return False
    before = _names(sys.modules.pop(module))
    try:
        taken: Any = conf.Settings(module)
    except Exception:  # A fresh Python says so in its own way.
        return False
    after = _names(sys.modules[module])
    if any(before.get(name) != after.get(name) for name in {*before, *after}.difference(read_late)):
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

    requests, kind = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    sys.path[0] = str(ROOT)
    if kind == SITE:
        django.setup()
    else:
        _load_project()
    for module in MODULES if kind == SITE else MODULES_OF_PROJECTS:
        import_module(module)
    gc.collect()
    gc.freeze()
    arguments = serve(requests, become_site if kind == SITE else become_project)
    if arguments is not None:
        gc.unfreeze()
        intervals.apply()
        run(arguments)


preloaded, preloaded_project = Preloaded(SITE), Preloaded(PROJECT)
# The site as `make demo` runs it, with more apps, and backfills as fast as they are.
preloaded_demo = Preloaded(SITE, DEMO="1", BACKFILL_ROWS_PER_SECOND="0")


def preloaded_for(env: Variables) -> Preloaded:
    """The process of the site that has the apps which these variables ask for."""
    return preloaded_demo if env.get("DEMO") else preloaded


if __name__ == "__main__":
    main()
