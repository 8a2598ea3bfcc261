"""What gates read from a target: kept for seconds, since pages ask every second."""

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import psycopg

from rollout.engine.target import Connection, reason_of
from rollout.journal.environments import target_of
from rollout.models import Rollout

TTL_SECONDS = 5.0
T = TypeVar("T")

_results: dict[Hashable, tuple[float, Any]] = {}


def cached_query(rollout: Rollout, *key: Hashable, query: Callable[[Connection], T]) -> T | str:
    """What a query of the rollout's target returned seconds ago, or why it could not be sent.

    ``key`` tells it from other queries of the same target.
    """
    target = target_of(rollout.environment)
    key = (*(target.parameters.get(name) for name in ("host", "port", "dbname")), *key)
    now = time.monotonic()
    for old, (at, _) in list(_results.items()):
        if now - at > TTL_SECONDS:
            _results.pop(old, None)
    result: T | str
    if (cached := _results.get(key)) is not None:
        _, result = cached
        return result
    try:
        with target.connect_briefly() as connection:
            result = query(connection)
    except psycopg.Error as error:
        result = reason_of(error)
    _results[key] = now, result
    return result


def invalidate() -> None:
    """Clear the cache."""
    _results.clear()
