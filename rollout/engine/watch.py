"""Observes a statement from another connection, while its own is busy with it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg

from rollout.engine import statement_activities
from rollout.engine.control import Control
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection
from rollout.plan.actions import Statement

# A statement that ends before is not observed: there is nothing to see.
FIRST_LOOK_SECONDS = 0.05
POLL_SECONDS, LONG_POLL_SECONDS = 0.1, 0.5
# By connection, its parameters: they never change, and reading them takes longer than most DDL.
_dsns: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()


class Watch:
    """Reports a statement's activity to the control, from a thread with a connection of its own.

    Without that connection the statement runs all the same; only its blockers stay unknown.
    """

    def __init__(self, connection: Connection, statement: Statement, control: Control) -> None:
        self._dsn = _dsn_of(connection)
        self._password = connection.info.password
        self._control = control
        self._every = LONG_POLL_SECONDS if statement.long else POLL_SECONDS
        self._activity = StatementActivity(
            session=connection.info.backend_pid,
            statement=" ".join(statement.text.split())[:300],
            began_at=_text(datetime.now(UTC)),
        )
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._control.report_activity(None)

    def trying(self, attempt: int, attempts: int, timeout: float) -> None:
        """An attempt begins, with a lock timeout in seconds."""
        self._change(
            attempt=attempt, attempts=attempts, timeout_ms=int(timeout * 1000), next_try_at=""
        )

    def pausing(self, seconds: float) -> None:
        """An attempt has failed; the next begins after this pause."""
        self._change(next_try_at=_text(datetime.now(UTC) + timedelta(seconds=seconds)))
        self._control.report_activity(self._activity)

    @property
    def named(self) -> str:
        """The sessions that blocked it at the last observation."""
        return self._activity.named

    def _look_on(self) -> None:
        if self._ended.wait(FIRST_LOOK_SECONDS):
            return
        try:
            with psycopg.connect(
                self._dsn, password=self._password, autocommit=True, connect_timeout=5
            ) as connection:
                connection.execute("SET statement_timeout = '2s'")
                connection.execute("SET lock_timeout = '200ms'")
                while True:
                    self._look(connection)
                    if self._ended.wait(self._every):
                        return
        except psycopg.Error:
            return

    def _look(self, connection: Connection) -> None:
        pid = self._activity.session
        try:
            awaits, blockers = statement_activities.in_its_way(connection, pid)
            progress = statement_activities.progress(connection, pid)
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
            return
        if blockers or not self._activity.attempt:
            self._change(awaits=awaits, blockers=blockers, progress=progress)
        if not self._ended.is_set():
            self._control.report_activity(self._activity)

    def _change(self, **fields: Any) -> None:
        with self._changing:
            self._activity = replace(self._activity, **fields)


def _dsn_of(connection: Connection) -> str:
    if connection not in _dsns:
        _dsns[connection] = connection.info.dsn
    return _dsns[connection]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
