"""Adds measurements up in a process and writes them to the journal every few seconds."""

import atexit
import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import DatabaseError

from rollout import journal
from rollout.conf import setting
from rollout.journal.heartbeats import process_name
from rollout.telemetry.histograms import Histogram

INTERVAL_SECONDS = 3
# Characters of an operation's and a plan's name that the journal stores.
MAX_NAME = 100
# Sums that wait for a database that is away; beyond that the oldest are dropped.
MAX_WAITING = 10_000

_log = logging.getLogger(__name__)

# The interval's number since the epoch, the operation, the plan whose modes it asked for, the read
# mode and the write mode.
Key = tuple[int, str, str, str, str]


@dataclass
class Sums:
    """What the calls of one operation in one interval add up to."""

    calls: int = 0
    errors: int = 0
    queries: int = 0
    seconds: float = 0.0
    database_seconds: float = 0.0
    durations: Histogram = field(default_factory=Histogram)


class Recorder:
    """One for each process. ``add`` takes microseconds; a thread of its own writes.

    When the process dies, at most one interval is lost.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """A forked child has its parent's sums, and not its thread."""
        self._lock = threading.Lock()
        self._sums: dict[Key, Sums] = {}
        self._writer: threading.Thread | None = None
        self._here = threading.local()

    def added_here(self) -> int:
        """Operations that this thread has added."""
        return getattr(self._here, "added", 0)

    def add(
        self,
        operation: str,
        *,
        plan: str = "",
        modes: tuple[str, str],
        seconds: float,
        database_seconds: float,
        queries: int,
        failed: bool,
    ) -> None:
        """Count one call."""
        self._here.added = self.added_here() + 1
        key = (int(time.time()) // INTERVAL_SECONDS, operation[:MAX_NAME], plan[:MAX_NAME], *modes)
        with self._lock:
            sums = self._sums.setdefault(key, Sums())
            sums.calls += 1
            sums.errors += failed
            sums.queries += queries
            sums.seconds += seconds
            sums.database_seconds += database_seconds
            sums.durations.add(seconds)
            if self._writer is None and setting("TELEMETRY", True):
                self._writer = threading.Thread(target=self._write, name="telemetry", daemon=True)
                self._writer.start()
                atexit.register(self.flush)

    def _write(self) -> None:
        while True:
            time.sleep(INTERVAL_SECONDS - time.time() % INTERVAL_SECONDS)
            self.flush()
            # An idle process holds no connection for its telemetry.
            journal.connection().close()

    def flush(self) -> None:
        """Write the sums to the journal; without a database they are kept for the next time."""
        from rollout.models import Measurement
        from rollout.telemetry import totals

        with self._lock:
            taken, self._sums = self._sums, {}
        if not taken:
            return
        rows = [
            Measurement(
                at=datetime.fromtimestamp(number * INTERVAL_SECONDS, UTC),
                seconds=INTERVAL_SECONDS,
                operation=operation,
                plan=plan,
                read_mode=read,
                write_mode=write,
                process=process_name(),
                calls=sums.calls,
                errors=sums.errors,
                queries=sums.queries,
                database_seconds=sums.database_seconds,
                durations=sums.durations.as_json(),
            )
            for (number, operation, plan, read, write), sums in taken.items()
        ]
        try:
            with journal.atomic():
                Measurement.objects.bulk_create(rows)
                totals.add(zip(rows, (sums.seconds for sums in taken.values()), strict=True))
        except DatabaseError as error:
            _log.warning("Measurements are kept until the database answers: %s", str(error).strip())
            self._keep(taken)
            with contextlib.suppress(DatabaseError):
                journal.connection().close()

    def _keep(self, taken: dict[Key, Sums]) -> None:
        with self._lock:
            for key, sums in taken.items():
                present = self._sums.setdefault(key, Sums())
                present.calls += sums.calls
                present.errors += sums.errors
                present.queries += sums.queries
                present.seconds += sums.seconds
                present.database_seconds += sums.database_seconds
                present.durations.merge(sums.durations)
            for key in sorted(self._sums)[: max(0, len(self._sums) - MAX_WAITING)]:
                del self._sums[key]


recorder = Recorder()
