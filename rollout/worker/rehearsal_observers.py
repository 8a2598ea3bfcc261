"""The worker's side of the process that observes a rehearsal, and what it saw added up."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.utils import timezone

from rollout.engine.control import Control, pause
from rollout.engine.rehearsal.locks import Seen
from rollout.models import Observation, PhaseRun, StepRun
from rollout.plan.errors import RolloutError
from rollout.plan.plan import Plan
from rollout.telemetry.histograms import Histogram

READY_SECONDS = 60
# How long to keep a finished run's operations, so that late reports still count.
FORGET_SECONDS = 60


class ObserverDied(RolloutError):
    """The observer process ended; the message says what it wrote last."""


@dataclass(frozen=True)
class Operation:
    """One operation of the traffic; ``began`` is in seconds since the epoch."""

    began: float
    seconds: float
    error: str


class Observer:
    """Traffic and a look at the locks, in a process that does not outlive its ``with``."""

    def __init__(
        self, plan: Plan, *, target: Mapping[str, Any], database: Mapping[str, Any], seed: int
    ) -> None:
        self._lock = threading.Lock()
        self._operations: list[Operation] = []
        self._locks: list[Seen] = []
        self._ready = threading.Event()
        self.look_seconds: float | None = None
        self._looked_at = 0.0
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rollout.worker.observer_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": str(settings.SETTINGS_MODULE),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            text=True,
        )
        assert self._process.stdin is not None
        # Passwords go by the pipe: a command line and an environment can be read by others.
        self._process.stdin.write(
            json.dumps(
                {
                    "target": dict(target),
                    "database": dict(database),
                    "traffic": plan.traffic,
                    "rate": plan.traffic_rate,
                    "seed": seed,
                },
                default=str,
            )
            + "\n"
        )
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name="observer", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._complaints.close()

    def wait_until_ready(self, control: Control) -> None:
        """Raises Interrupted, and ObserverDied if it does not get ready."""
        deadline = time.monotonic() + READY_SECONDS
        # Not control.pause: it waits for an event, and for no longer than that takes.
        while not self._ready.wait(0.1):
            control.raise_if_stopped()
            self.check()
            if time.monotonic() > deadline:
                raise ObserverDied(
                    f"It was not ready after {READY_SECONDS} s. {self._last_complaints()}"
                )

    def wait_until_told(self, moment: float, control: Control) -> None:
        """Wait until every lock that was gone by a moment, since the epoch, has been reported.

        Raises Interrupted, and ObserverDied if that takes too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self._looked_at < moment:
            self.check()
            if time.monotonic() > deadline:
                raise ObserverDied(f"It has not looked at the locks for {READY_SECONDS} s.")
            pause(0.05, control)

    def check(self) -> None:
        """Raises ObserverDied."""
        if self._process.poll() is not None:
            raise ObserverDied(
                f"Its exit status is {self._process.returncode}. {self._last_complaints()}"
            )

    def end(self) -> None:
        """Stop the traffic and read the last reports."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(8)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)

    def seen(self, since: float, until: float) -> "Sums":
        """What was seen in a span of time, in seconds since the epoch."""
        with self._lock:
            operations, locks = list(self._operations), list(self._locks)
        sums = Sums()
        for operation in operations:
            if operation.began < until and operation.began + operation.seconds > since:
                sums.add_operation(operation)
        for lock in locks:
            if lock.first < until and lock.until > since:
                sums.add_lock(lock)
        return sums

    def forget_before(self, moment: float) -> None:
        with self._lock:
            self._operations = [o for o in self._operations if o.began + o.seconds >= moment]
            self._locks = [lock for lock in self._locks if lock.until >= moment]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("ready"):
                self._ready.set()
                continue
            with self._lock:
                self._operations += [Operation(*item) for item in message["operations"]]
                self._locks += [Seen(*item) for item in message["locks"]]
                self.look_seconds = message["period"]
                self._looked_at = message["looked_at"]

    def _last_complaints(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return " ".join(lines[-3:])[-600:]


@dataclass
class Sums:
    """What observations add up to."""

    operations: int = 0
    errors: int = 0
    last_error: str = ""
    longest: float | None = None
    """Seconds."""
    durations: Histogram = field(default_factory=Histogram)
    locks: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add_operation(self, operation: Operation) -> None:
        self.operations += 1
        self.durations.add(operation.seconds)
        self.longest = max(self.longest or 0.0, operation.seconds)
        if operation.error:
            self.errors += 1
            self.last_error = operation.error

    def add_lock(self, seen: Seen) -> None:
        lock = self._lock(seen.table, seen.mode)
        milliseconds = round((seen.until - seen.first) * 1000, 2)
        if seen.granted:
            lock["times"] += 1
            lock["held_ms"] = max(lock["held_ms"] or 0.0, milliseconds)
        else:
            lock["waited_ms"] = round(lock["waited_ms"] + milliseconds, 2)

    def _lock(self, table: str, mode: str) -> dict[str, Any]:
        empty = {"table": table, "mode": mode, "held_ms": None, "times": 0, "waited_ms": 0.0}
        return self.locks.setdefault((table, mode), empty)

    def with_earlier(self, earlier: Observation | None) -> "Sums":
        """The sums of this worker and of an earlier one."""
        if earlier is None:
            return self
        self.operations += earlier.operations
        self.errors += earlier.errors
        self.last_error = self.last_error or earlier.last_error
        if earlier.longest_ms is not None:
            self.longest = max(self.longest or 0.0, earlier.longest_ms / 1000)
        self.durations.merge(Histogram.of_json(earlier.durations))
        for item in earlier.locks:
            lock = self._lock(item["table"], item["mode"])
            lock["times"] += item["times"]
            lock["waited_ms"] += item["waited_ms"]
            held = [ms for ms in (lock["held_ms"], item["held_ms"]) if ms is not None]
            lock["held_ms"] = max(held, default=None)
        return self

    def as_fields(self) -> dict[str, Any]:
        """The counts, as columns of an ``Observation``."""
        return {
            "operations": self.operations,
            "errors": self.errors,
            "last_error": self.last_error,
            "longest_ms": None if self.longest is None else round(self.longest * 1000, 2),
            "durations": self.durations.as_json(),
            "locks": sorted(self.locks.values(), key=lambda lock: -(lock["held_ms"] or 0)),
        }


class Notes:
    """Writes the observations of a run and its steps."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._earlier: dict[int, dict[int | None, Observation]] = {}

    def write(self, run: PhaseRun) -> None:
        """Write those of a run and of its steps, with what earlier workers saw."""
        if run.started_at is None:
            return
        if run.pk not in self._earlier:
            known = Observation.objects.filter(run=run)
            self._earlier[run.pk] = {item.step_run_id: item for item in known}
        earlier = self._earlier[run.pk]
        spans: Iterable[tuple[StepRun | None, datetime, datetime | None]] = [
            (None, run.started_at, run.finished_at),
            *(
                (step, step.started_at, step.finished_at)
                for step in run.steps.all()
                if step.started_at is not None
            ),
        ]
        for step, began, ended in spans:
            until = ended or timezone.now()
            sums = self._observer.seen(began.timestamp(), until.timestamp())
            sums.with_earlier(earlier.get(step.pk if step else None))
            Observation.objects.update_or_create(run=run, step_run=step, defaults=sums.as_fields())
