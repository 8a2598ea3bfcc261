"""One session for all that a page, or a verb, asks of a target, one question after the other.

To connect takes longer than most questions, and a new session reads the catalog again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.Connection[tuple[Any, ...]]
_Idle = dict[tuple[tuple[str, str], ...], Connection]

# By the parameters of their target, the connections that nobody uses just now; None where none is
# kept.
_idle: ContextVar[_Idle | None] = ContextVar("idle", default=None)


@contextmanager
def shared_connections() -> Iterator[None]:
    """Within it, brief connections to a target share a session, which ends with it."""
    if _idle.get() is not None:
        yield
        return
    idle: _Idle = {}
    token = _idle.set(idle)
    try:
        yield
    finally:
        _idle.reset(token)
        for connection in idle.values():
            connection.close()


@contextmanager
def borrowed(
    parameters: Mapping[str, Any], connect: Callable[[], Connection]
) -> Iterator[Connection]:
    """A connection of the target with these parameters, made by ``connect`` unless one is idle.

    It is kept for the next question only after one that was answered.
    """
    idle = _idle.get()
    key = tuple(sorted((name, str(value)) for name, value in parameters.items()))
    connection = (idle or {}).pop(key, None) or connect()
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    is_idle = connection.info.transaction_status == TransactionStatus.IDLE
    if idle is not None and idle is _idle.get() and key not in idle and is_idle:
        idle[key] = connection
    else:
        connection.close()
