"""Repeats a share of the reads by both schemas, in a thread of its own, after the answer.

Both paths read in one snapshot, so that a write in flight makes no difference, and in random order,
so that neither always finds its pages in memory.
"""

import logging
import os
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, connections, transaction

from rollout.conf import setting
from rollout.engine.target import OWN_ROWS
from rollout.modes import Modes, modes_now
from rollout.plan.errors import RolloutError
from rollout.plan.switch import ReadMode, lock_key
from rollout.shadow.answers import Answer, Difference, differences
from rollout.shadow.causes import Scope, cause_of
from rollout.shadow.shares import Shares
from rollout.shadow.tallies import INTERVAL_SECONDS, Outcome, Tallies, Tally
from rollout.telemetry.operations import unmeasured

# Offers beyond that are skipped: the application never waits.
MAX_WAITING = 20
# Every process knows a changed share by then.
SHARES_EVERY_SECONDS = 2.0
# Without an offer for this long the thread ends and closes its connections.
IDLE_SECONDS = 60.0
# A difference is compared once more before it counts.
RECHECK_AFTER_SECONDS = 0.5
# Timeout of a statement of a shadow read; ``ROLLOUT["SHADOW_TIMEOUT_MS"]`` replaces it.
TIMEOUT_MS = 2000

Execute = Callable[[Any, Any, bool, Any], Any]

_QUERY = re.compile(r"\s*(SELECT|WITH)\b", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """A read that was answered, and can be done again by other modes."""

    operation: str
    plan: str
    table: str
    using: str
    read: Callable[[Modes], Answer]


class OneSchemaOnly(RolloutError):
    """Only one of the schemas exists now, or the modes are being switched."""


@dataclass(frozen=True)
class Comparison:
    """Where both paths differ. ``stable`` says whether the old one gives its answer again."""

    differences: list[Difference]
    stable: bool


class Reader:
    """One for each process."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """A forked child has no thread yet."""
        self._waiting: queue.Queue[Offer] = queue.Queue(maxsize=MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shares = Shares()
        self._tallies = Tallies()
        self._skipped: dict[tuple[int, str], int] = {}
        self._offered_at = 0.0
        self._refreshed_at = 0.0
        self._flushed_at = 0.0

    def offer(self, offer: Offer) -> None:
        """Take a random share of the offers. Runs on the application's own thread."""
        if not setting("SHADOW", True):
            return
        self._offered_at = time.monotonic()
        share = self._shares.of(offer.plan, offer.using)
        if self._thread is None:
            self._start()
        if share is None or random.random() >= share.share:
            return
        try:
            self._waiting.put_nowait(offer)
        except queue.Full:
            key = (share.rollout, offer.operation)
            with self._lock:
                self._skipped[key] = self._skipped.get(key, 0) + 1

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with unmeasured():
            while time.monotonic() - self._offered_at < IDLE_SECONDS:
                try:
                    self.work(wait=SHARES_EVERY_SECONDS)
                except Exception as error:
                    # Whatever it is, the next read is another one; the database may be away.
                    _log.warning("Shadow read abandoned: %s", str(error).strip())
                    connections.close_all()
                    time.sleep(SHARES_EVERY_SECONDS)
        connections.close_all()
        self._thread = None

    def work(self, *, wait: float) -> None:
        """Refresh the shares, compare one read that waits, and write tallies that are due."""
        now = time.monotonic()
        if now - self._refreshed_at >= SHARES_EVERY_SECONDS:
            self._refreshed_at = now
            self._shares.refresh()
        try:
            offer = self._waiting.get(timeout=wait)
        except queue.Empty:
            pass
        else:
            self._answer(offer)
        if time.monotonic() - self._flushed_at >= INTERVAL_SECONDS:
            self.flush()

    def flush(self) -> None:
        self._flushed_at = time.monotonic()
        with self._lock:
            skipped, self._skipped = self._skipped, {}
        for (rollout, operation), number in skipped.items():
            self._tallies.of(rollout, operation).skipped += number
        self._tallies.flush()

    def _answer(self, offer: Offer) -> None:
        share = self._shares.of(offer.plan, offer.using)
        if share is None or not share.share:
            return
        tally = self._tallies.of(share.rollout, offer.operation)
        try:
            outcome = self._outcome(offer, Scope(share.rollout, offer.plan, offer.table), tally)
        except OneSchemaOnly:
            return
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
            self._tallies.count(share.rollout, offer.operation, "failed", error=reason)
            if isinstance(error, DatabaseError):
                connections[offer.using].close()
            return
        self._tallies.count(share.rollout, offer.operation, outcome)

    def _outcome(self, offer: Offer, scope: Scope, tally: Tally) -> Outcome:
        compared = _compare(offer, tally)
        if not compared.differences:
            return "same"
        if not compared.stable:
            return "unstable"
        cause = cause_of(scope, offer.operation, compared.differences, report=False)
        if cause != "differed":
            return cause
        time.sleep(RECHECK_AFTER_SECONDS)
        again = _compare(offer, None)
        if not again.differences:
            return "transient"
        return cause_of(scope, offer.operation, again.differences, report=again.stable)


def _compare(offer: Offer, tally: Tally | None) -> Comparison:
    """Read by both paths in one snapshot; the application answers by the old one."""
    with _snapshot(offer) as modes:
        answered: ReadMode = modes.read
        other: ReadMode = "new" if answered == "legacy" else "legacy"
        answers: dict[str, Answer] = {}
        for read in random.sample((answered, other), 2):
            began = time.perf_counter()
            answers[read] = offer.read(replace(modes, read=read))
            if tally is not None:
                durations = tally.old if read == "legacy" else tally.new
                durations.add(time.perf_counter() - began)
        differing = differences(answers["legacy"], answers["new"])
        stable = not differing or not differences(
            answers[answered], offer.read(replace(modes, read=answered))
        )
    return Comparison(differing, stable)


def _own(execute: Execute, query: Any, parameters: Any, many: bool, context: Any) -> Any:
    """Mark a query, so that statistics tell it from the application's, as ``own`` does."""
    if isinstance(query, str) and _QUERY.match(query):
        inner = query.rstrip().rstrip(";")
        query = f"SELECT * FROM ({inner}) AS {OWN_ROWS}"  # noqa: S608  a name of our own
    return execute(query, parameters, many, context)


@contextmanager
def _snapshot(offer: Offer) -> Iterator[Modes]:
    """A short read-only transaction in which both schemas exist."""
    timeout = int(setting("SHADOW_TIMEOUT_MS", TIMEOUT_MS))
    connection = connections[offer.using]
    with transaction.atomic(using=offer.using), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true),"
            " set_config('lock_timeout', %s, true)",
            [str(timeout), str(min(timeout, 100))],
        )
        # Never waits behind a switch of the modes, and keeps the next one waiting only shortly.
        cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [lock_key(offer.plan)])
        row = cursor.fetchone()
        modes = modes_now(offer.plan, using=offer.using)
        if not row or not row[0] or modes.write == "legacy":
            raise OneSchemaOnly
        with connection.execute_wrapper(_own):
            yield replace(modes, write="both")


reader = Reader()
