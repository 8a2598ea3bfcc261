"""What open tabs cost: browsers that ask as live.js does, and the processor time of the server."""

import http.client
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.server import Database
from config import processes
from config.home import ROOT

USERS = 10
START_SECONDS = 60


@dataclass
class Counted:
    """What the answers were: how many of each status, and bytes."""

    statuses: dict[int, int] = field(default_factory=dict)
    size: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int, size: int) -> None:
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.size += size


def open_tabs(database: Database, page: str, *, count: int, seconds: float) -> dict[str, Any]:
    """The share of one core: while nothing is under way, and while something changes all the time.

    Ten people have five tabs each on one rollout's page; every other one is a lead.
    """
    from rollout.console.http.fragments import FAST, SLOW

    cookies = [_session(number) for number in range(USERS)]
    with _gunicorn(database) as (port, process):
        idle = _watched(port, process, page, cookies, count, SLOW, seconds)
        with _work():
            busy = _watched(port, process, page, cookies, count, FAST, seconds)
    return {"count": count, "idle": idle, "at_work": busy}


def _session(number: int) -> str:
    from django.contrib.auth.models import Group, User
    from django.test import Client

    user, _made = User.objects.get_or_create(username=f"person{number}")
    user.groups.add(Group.objects.get(name="lead" if number % 2 else "viewer"))
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}; zone=Europe%2FBerlin"


@contextmanager
def _gunicorn(database: Database) -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (database.home / "site.log").open("ab") as log:
        started = processes.spawn(
            [
                *(sys.executable, "-m", "gunicorn", "config.wsgi", "--chdir", str(ROOT)),
                *("--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "4"),
                "--no-control-socket",
            ],
            home=database.home,
            environ={**database.environ, "DJANGO_SETTINGS_MODULE": "bench.settings"},
            output=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield port, psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(20)


@contextmanager
def _work() -> Iterator[None]:
    """A run whose step says something new twice a second, as a backfill does."""
    from django.db import connection, connections

    from rollout.models import PhaseRun, StepRun

    run = PhaseRun.objects.order_by("-pk").filter(phase=2).first()
    assert run is not None
    PhaseRun.objects.filter(pk=run.pk).update(state="running", finished_at=None)
    step = StepRun.objects.filter(run=run).latest("position")
    StepRun.objects.filter(pk=step.pk).update(state="running", finished_at=None)
    stop = threading.Event()

    def go_on() -> None:
        number = 0
        while not stop.wait(0.5):
            number += 1
            StepRun.objects.filter(pk=step.pk).update(waiting_for=f"lock number {number}")
        connections.close_all()

    working = threading.Thread(target=go_on)
    working.start()
    try:
        yield
    finally:
        stop.set()
        working.join()
        connection.close()


def _watched(
    port: int,
    process: psutil.Process,
    page: str,
    cookies: list[str],
    count: int,
    pace: float,
    seconds: float,
) -> dict[str, Any]:
    counted, stop = Counted(), threading.Event()
    tabs = [
        threading.Thread(
            target=_tab,
            args=(port, page, cookies[n % len(cookies)], pace, pace * n / count, counted, stop),
        )
        for n in range(count)
    ]
    for tab in tabs:
        tab.start()
    # The first question of each is the one that the page itself was.
    time.sleep(pace + 1)
    before, began = _processor_seconds(process), time.monotonic()
    asked = sum(counted.statuses.values())
    time.sleep(seconds)
    spent, lasted = _processor_seconds(process) - before, time.monotonic() - began
    asked = sum(counted.statuses.values()) - asked
    stop.set()
    for tab in tabs:
        tab.join()
    return {
        "pace_s": pace,
        "requests_per_s": round(asked / lasted, 1),
        "share_of_a_core": round(spent / lasted, 4),
        "ms_per_request": round(spent * 1000 / max(asked, 1), 2),
        "statuses": counted.statuses,
    }


def _tab(
    port: int,
    page: str,
    cookie: str,
    pace: float,
    first: float,
    counted: Counted,
    stop: threading.Event,
) -> None:
    tag = ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    wait = first
    while not stop.wait(wait):
        wait = pace
        headers = {"HX-Request": "true", "Cookie": cookie, "Host": f"127.0.0.1:{port}"}
        if tag:
            headers["If-None-Match"] = tag
        try:
            answer = _answer_of(connection, page, headers)
        except (OSError, http.client.HTTPException):
            counted.add(0, 0)
            connection.close()
            continue
        counted.add(answer.status, len(answer.read()))
        if answer.status == 200:
            tag = answer.headers.get("ETag", "")
    connection.close()


def _answer_of(
    connection: http.client.HTTPConnection, page: str, headers: dict[str, str]
) -> http.client.HTTPResponse:
    """Once more on a new connection where the server has closed the old one, as browsers do."""
    try:
        connection.request("GET", page, headers=headers)
        return connection.getresponse()
    except (ConnectionError, http.client.RemoteDisconnected):
        connection.close()
        connection.request("GET", page, headers=headers)
        return connection.getresponse()


def _processor_seconds(process: psutil.Process) -> float:
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)
