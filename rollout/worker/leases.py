"""A worker's hold on its work, extended by a thread, lost once another worker has it."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self

import psycopg
from django.db import DatabaseError
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from rollout import journal, logs
from rollout.engine.control import Interrupted
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection
from rollout.journal import heartbeats
from rollout.models import Leased, RunState

LEASE_SECONDS = 10
"""How long after its last sign of life a worker still counts as alive."""
_EXTEND_EVERY = 2.0
LOOK_EVERY = 0.3


class Lease:
    """Holds a run, or other work, for this worker; the ``Control`` that its work asks.

    A thread moves the lease on and looks at the state, also while a long statement runs: the
    statement of a cancelled run is cancelled in the database. A queue worker counts
    as alive while it holds the lease; a shell that does its own work does not.
    """

    def __init__(
        self,
        work: Leased,
        *,
        on_wait: Callable[[str], None],
        on_activity: Callable[[StatementActivity | None], None] | None = None,
        from_queue: bool = True,
    ) -> None:
        self.work = work
        self.token = work.token
        self.lost = False
        self.asked_to: RunState | None = None
        self._on_wait = on_wait
        self._on_activity = on_activity
        self._from_queue = from_queue
        self._waiting_for = ""
        self._activity: StatementActivity | None = None
        self._shown: StatementActivity | None = None
        self._connection: Connection | None = None
        self._ended = threading.Event()
        self._logged = logs.bound(**work.log_fields())

    def __enter__(self) -> Self:
        self._logged.__enter__()
        # A thread begins without the context of the one that starts it.
        keep = partial(copy_context().run, self._keep)
        self._thread = threading.Thread(target=keep, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._logged.__exit__(kind, error, trace)

    def raise_if_stopped(self) -> None:
        """Raises Interrupted when the work was paused, cancelled or taken over."""
        if self.lost:
            raise Interrupted("Taken over by another worker.")
        if self.asked_to is not None:
            raise Interrupted(f"The run is {self.asked_to}.")

    def report_wait(self, reason: str) -> None:
        """Write down what the work waits for, once for each change."""
        if reason != self._waiting_for:
            self._waiting_for = reason
            self._on_wait(reason)

    def report_activity(self, activity: StatementActivity | None) -> None:
        """Have the thread write it down at its next look: the caller may not wait for that."""
        self._activity = activity

    def attach(self, connection: Connection) -> None:
        self._connection = connection

    def _keep(self) -> None:
        extended = alive = time.monotonic()
        try:
            while not self._ended.wait(LOOK_EVERY):
                now = time.monotonic()
                try:
                    if now - extended >= _EXTEND_EVERY:
                        extended = now
                        self._extend()
                        if self._from_queue:
                            heartbeats.beat(heartbeats.WORKER)
                    self._read_state()
                    self._show()
                    alive = now
                except DatabaseError:
                    journal.connection().close()
                    # Nobody can tell whether the lease still holds; past its end it does not.
                    self.lost = self.lost or now - alive > LEASE_SECONDS
                if self.lost or self.asked_to is RunState.CANCELLING:
                    self._cancel_statement()
        finally:
            journal.connection().close()

    def _extend(self) -> None:
        if not extend(self.work, self.token):
            self.lost = True

    def _show(self) -> None:
        activity = self._activity
        if self._on_activity is not None and activity is not self._shown and not self.lost:
            self._on_activity(activity)
            self._shown = activity

    def _read_state(self) -> None:
        rows = _rows(self.work).filter(pk=self.work.pk, token=self.token)
        state = rows.values_list(self.work.state_field, flat=True).first()
        if state is None:
            self.lost = True
        # Every kind of work calls it the same when it is to stop.
        elif state in (RunState.PAUSING, RunState.CANCELLING):
            self.asked_to = RunState(state)

    def _cancel_statement(self) -> None:
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.cancel_safe(timeout=2)
            except psycopg.Error:
                self.lost = self.lost or self._connection.closed


def claim(work: Leased, token: int) -> bool:
    """Take work that was sent with a token; False when that token is no longer the newest."""
    claimed = (
        _rows(work)
        .filter(pk=work.pk, token=token)
        .update(token=F("token") + 1, worker=heartbeats.process_name(), lease_until=grace())
    )
    if claimed:
        work.refresh_from_db()
    return bool(claimed) and work.token == token + 1


def extend(work: Leased, token: int) -> bool:
    """Extend a lease; False if another worker has the work."""
    return bool(_rows(work).filter(pk=work.pk, token=token).update(lease_until=grace()))


def take_back(work: Leased) -> bool:
    """Take work from an unresponsive worker: its token is void from now on."""
    taken = (
        _rows(work)
        .filter(pk=work.pk, token=work.token)
        .update(token=F("token") + 1, worker="", lease_until=grace())
    )
    if taken:
        work.refresh_from_db()
    return bool(taken)


def _rows(work: Leased) -> QuerySet[Leased]:
    return type(work)._default_manager.all()


def grace() -> Combinable:
    """The end of a lease that begins now, by the database's clock: those of machines differ."""
    return Now() + timedelta(seconds=LEASE_SECONDS)


def run_out() -> Q:
    """Work whose lease has run out, or lasts longer than any: a clock was set back since."""
    later_than_any = Now() + timedelta(seconds=2 * LEASE_SECONDS)
    return Q(lease_until__lt=Now()) | Q(lease_until__gt=later_than_any)


def is_leased(work: Leased) -> bool:
    """Whether a worker holds it."""
    return _rows(work).filter(pk=work.pk).exclude(lease_until=None).exclude(run_out()).exists()
