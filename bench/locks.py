"""How long exclusive locks on tables are really held: pg_locks, read about once a millisecond.

The loop runs in the server, on a connection to another database of it: there it is in nobody's way,
and its snapshot holds nothing up. A hold is given by its upper bound: from the last look at which
it was not there yet to the first one at which it was gone. What comes and goes between two looks is
not seen, and is shorter than the time between them; the longest such time is reported as well.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.server import Connection, Database
from config import embedded

MODES = ("ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
CHUNK_SECONDS = 0.25
BLIND_MS = 5.0
"""A time between two looks that is worth telling."""

_LOOK = """
CREATE FUNCTION pg_temp.look (wanted_database oid, wanted oid[], modes text[], seconds float8)
RETURNS TABLE (before timestamptz, at timestamptz, session int, relation oid, mode text, gap float8)
LANGUAGE plpgsql AS $look$
DECLARE
  former timestamptz := clock_timestamp();
  moment timestamptz;
  until timestamptz := former + seconds * interval '1 second';
  longest float8 := 0;
  held boolean := false;
BEGIN
  LOOP
    moment := clock_timestamp();
    longest := greatest(longest, extract(epoch FROM moment - former) * 1000);
    RETURN QUERY SELECT former, moment, l.pid, l.relation, l.mode, 0::float8 FROM pg_locks AS l
      WHERE l.granted AND l.locktype = 'relation' AND l.database = wanted_database
        AND l.relation = ANY (wanted) AND l.mode = ANY (modes);
    IF FOUND THEN
      held := true;
    ELSIF held THEN
      held := false;
      RETURN QUERY SELECT former, moment, NULL::int, NULL::oid, NULL::text, 0::float8;
    END IF;
    EXIT WHEN moment > until AND NOT held;
    former := moment;
    PERFORM pg_sleep(0.0005);
  END LOOP;
  RETURN QUERY SELECT former, moment, NULL::int, NULL::oid, NULL::text, longest;
END $look$
"""


@dataclass(frozen=True)
class Hold:
    """An exclusive lock that a session had; moments are seconds since the epoch."""

    table: str
    mode: str
    session: int
    began: float
    ended: float

    @property
    def ms(self) -> float:
        return (self.ended - self.began) * 1000


@dataclass
class Locks:
    """What was seen."""

    holds: list[Hold] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Of each chunk of looks: when it ended, and the longest time between two of them, in ms."""

    def between(self, started: float, ended: float) -> list[Hold]:
        """Holds that overlap a span of time, the longest first."""
        holds = [hold for hold in self.holds if hold.ended >= started and hold.began <= ended]
        return sorted(holds, key=lambda hold: -hold.ms)

    def blind_ms(self, started: float, ended: float) -> float:
        """The longest time between two looks."""
        return max((gap for at, gap in self.gaps if started <= at <= ended + 1), default=0.0)


@contextmanager
def watched(database: Database, tables: tuple[str, ...]) -> Iterator[Locks]:
    """Look at the locks on those tables of a database until the block ends."""
    locks = Locks()
    ended = threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            _look_on(database, tables, locks, ended)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=look, name="locks")
    thread.start()
    try:
        yield locks
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


def _look_on(
    database: Database, tables: tuple[str, ...], locks: Locks, ended: threading.Event
) -> None:
    beside = Database(embedded.with_database(database.url, "postgres"), database.home)
    with beside.connect() as connection, database.connect() as inside:
        (oid,) = _row(inside, "SELECT oid FROM pg_database WHERE datname = current_database()")
        connection.execute(_LOOK)
        while not ended.is_set():
            wanted = dict(
                inside.execute(
                    "SELECT oid, relname FROM pg_class WHERE relname = ANY (%s)"
                    " AND relkind IN ('r', 'p')",
                    [list(tables)],
                ).fetchall()
            )
            if not wanted:
                time.sleep(CHUNK_SECONDS)
                continue
            rows = connection.execute(
                "SELECT * FROM pg_temp.look(%s, %s::oid[], %s, %s)",
                [oid, list(wanted), list(MODES), CHUNK_SECONDS],
            ).fetchall()
            _read(rows, wanted, locks)


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def _read(rows: list[tuple[Any, ...]], names: dict[int, str], locks: Locks) -> None:
    """Put looks at which the same lock was there one after the other together to holds."""
    held: dict[tuple[int, int, str], tuple[datetime, datetime]] = {}
    moments: dict[datetime, list[tuple[datetime, Any, Any, Any, float]]] = {}
    for before, at, session, relation, mode, gap in rows:
        moments.setdefault(at, []).append((before, session, relation, mode, gap))
    for at, seen in moments.items():
        there = {(row[1], row[2], row[3]) for row in seen if row[1] is not None}
        for key in [key for key in held if key not in there]:
            began, _last = held.pop(key)
            session, relation, mode = key
            locks.holds.append(
                Hold(names[relation], mode, session, began.timestamp(), at.timestamp())
            )
        for before, session, relation, mode, gap in seen:
            if session is not None:
                held.setdefault((session, relation, mode), (before, at))
            elif gap:
                locks.gaps.append((at.timestamp(), gap))
