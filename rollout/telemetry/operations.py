"""Measures an operation: its time, its time in the database, its queries, and whether it failed."""

import time
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar, cast

from django.db import connections

from rollout.telemetry.recorder import recorder

# The attribute of a view that is not measured.
UNMEASURED = "rollout_unmeasured"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Measured:
    """A running operation."""

    name: str
    started: float = field(default_factory=time.perf_counter)
    queries: int = 0
    database_seconds: float = 0.0
    modes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The read and write mode, by the plan that it asked for them."""
    failed: bool = False

    def query(
        self,
        execute: Callable[[str, Any, bool, dict[str, Any]], Any],
        statement: str,
        parameters: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        """A wrapper around each statement, as Django's ``execute_wrapper`` takes it."""
        started = time.perf_counter()
        try:
            return execute(statement, parameters, many, context)
        finally:
            self.queries += 1
            self.database_seconds += time.perf_counter() - started


_current: ContextVar[Measured | None] = ContextVar("measured operation", default=None)
# What is measured unless an operation within it is.
_around: ContextVar[Measured | None] = ContextVar("measured around", default=None)


def leave_out(view: F) -> F:
    """Leave a view out of the middleware's measurements: it is none of the application's work."""
    view.__dict__[UNMEASURED] = True
    return view


class operation(ContextDecorator):
    """Measure what runs inside, as a decorator of a view or a function, or as a block.

    An operation inside another is part of it and not measured on its own. It failed when an
    exception leaves it, or when a decorated view answers with a status of 500 or above.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def _recreate_cm(self) -> "operation":
        # One instance decorates a function that many threads call at once.
        return operation(self.name)

    def __call__(self, function: F) -> F:
        @wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            if getattr(result, "status_code", 200) >= 500 and (present := _current.get()):
                present.failed = True
            return result

        return super().__call__(cast(F, measured))

    def __enter__(self) -> None:
        self._stack: ExitStack | None = None
        if _current.get() is not None:
            return
        measured = Measured(self.name)
        self._measured = measured
        self._stack = ExitStack()
        self._token = _current.set(measured)
        _count_queries(measured, self._stack)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stack is None:
            return
        self._stack.close()
        _current.reset(self._token)
        self._measured.failed |= error is not None
        _record(self._measured)


def using_modes(plan: str, *, read: str, write: str) -> None:
    """Record which schema of a plan the running operation, if any, reads and writes."""
    if (measured := _current.get() or _around.get()) is not None:
        measured.modes[plan] = (read, write)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Run what is inside without measuring it, whatever operations it names."""
    token = _current.set(Measured(""))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def unless_measured() -> Iterator[Measured]:
    """Measure what runs inside, unless it names an operation of its own or gets no name here."""
    measured = Measured("", failed=True)
    before = recorder.added_here()
    token = _around.set(measured)
    try:
        with ExitStack() as stack:
            _count_queries(measured, stack)
            yield measured
    finally:
        _around.reset(token)
    if measured.name and recorder.added_here() == before:
        _record(measured)


def _count_queries(measured: Measured, stack: ExitStack) -> None:
    """Count queries on every connection, including ones opened later."""
    for connection in connections.all():
        stack.enter_context(connection.execute_wrapper(measured.query))


def _record(measured: Measured) -> None:
    """Count a call, for each plan whose modes it asked for."""
    seconds = time.perf_counter() - measured.started
    for plan, modes in (measured.modes or {"": ("", "")}).items():
        recorder.add(
            measured.name,
            plan=plan,
            modes=modes,
            seconds=seconds,
            database_seconds=measured.database_seconds,
            queries=measured.queries,
            failed=measured.failed,
        )
