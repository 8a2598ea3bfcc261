"""Polls the table locks that the engine really holds, many times a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import NamedTuple

from rollout.engine.rehearsal.fingerprints import WITNESS
from rollout.engine.target import APPLICATION_NAME, Connection
from rollout.plan.table import label_sql

# Interval between two reads of pg_locks.
POLL_SECONDS = 0.003


class Seen(NamedTuple):
    """A lock that was held, or waited for where it was not ``granted``; times since the epoch."""

    table: str
    mode: str
    granted: bool
    first: float
    until: float


@dataclass
class Pace:
    """How often the locks were polled."""

    looks: int = 0
    seconds: float = 0.0
    looked_at: float = 0.0
    """When the newest poll was requested, since the epoch: what was gone by then is reported."""

    @property
    def period(self) -> float | None:
        return self.seconds / self.looks if self.looks else None


def watch(connection: Connection, stop: Event, tell: Callable[[Seen], None], pace: Pace) -> None:
    """Report every lock of the engine's sessions that others may wait for, until told to stop.

    A lock shorter than the interval may be missed: its ``until`` is the first poll without it.
    """
    labels: dict[int, str | None] = {}
    held: dict[tuple[int, str, bool], float] = {}
    while not stop.is_set():
        began, requested = time.perf_counter(), time.time()
        rows = connection.execute(_LOCKS, {"application": APPLICATION_NAME}).fetchall()
        now = time.time()
        present = {(int(oid), str(mode), bool(granted)) for oid, mode, granted in rows}
        for gone in held.keys() - present:
            oid, mode, granted = gone
            label = labels.get(oid)
            if label is not None:
                tell(Seen(label, mode, granted, held[gone], now))
            del held[gone]
        for new in present - held.keys():
            held[new] = now
            if labels.get(new[0]) is None:
                labels[new[0]] = _label_of(connection, new[0])
        pace.looked_at = requested
        stop.wait(POLL_SECONDS)
        pace.looks += 1
        pace.seconds += time.perf_counter() - began


def _label_of(connection: Connection, oid: int) -> str | None:
    """The name of a table or view; None for indexes, for our own, and for what is not there yet."""
    row = connection.execute(
        _LABEL.encode(),
        [oid, WITNESS],
    ).fetchone()
    return row[0] if row else None


_LABEL = """
SELECT {label} FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = %s AND c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> %s
""".replace("{label}", label_sql())
# Locks that go with everything that an application does are left out, and the one that only keeps
# others from writing to a materialized view, which nobody does while it is refreshed.
_LOCKS = """
SELECT DISTINCT l.relation::bigint, l.mode, l.granted
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
  LEFT JOIN pg_class AS c ON c.oid = l.relation
 WHERE l.locktype = 'relation' AND l.relation >= 16384
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND a.application_name = %(application)s
   AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
   AND NOT (c.relkind IS NOT DISTINCT FROM 'm' AND l.mode = 'ExclusiveLock')
"""
