"""Answers that look into a target: kept for seconds, since pages ask every second."""

import time
from collections.abc import Callable, Hashable

import psycopg

from rollout.engine.target import Connection, reason_of
from rollout.gates import drift
from rollout.gates.registry import Answered
from rollout.journal.environments import target_of
from rollout.models import Rollout

KEPT_SECONDS = 5.0

_kept: dict[Hashable, tuple[float, Answered]] = {}


def looked(rollout: Rollout, *about: Hashable, at: Callable[[Connection], Answered]) -> Answered:
    """What a look into the rollout's target came to, as it was seconds ago."""
    target = target_of(rollout.environment)
    key = (*(target.parameters.get(name) for name in ("host", "port", "dbname")), *about)
    now = time.monotonic()
    kept = _kept.get(key)
    if kept is None or now - kept[0] > KEPT_SECONDS:
        for old in [k for k, value in _kept.items() if now - value[0] > KEPT_SECONDS]:
            _kept.pop(old, None)
        try:
            with target.connect() as connection:
                connection.execute("SET statement_timeout = '3s'")
                answered = at(connection)
        except psycopg.Error as error:
            answered = ("unknown", f"The database could not be asked. {reason_of(error)}")
        _kept[key] = kept = (now, answered)
    return kept[1]


def forget() -> None:
    """Let the next answers be read afresh."""
    _kept.clear()
    drift.forget()
