"""The pace of each worker of a job and what throttled it, kept in the target.

A worker writes it down about once a second, in a small transaction that waits for the disk: how
long its commit takes is a signal itself (``rollout.engine.commit_latencies``).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from psycopg import sql

from rollout.engine import commit_latencies
from rollout.engine.commit_latencies import BASELINE_COMMITS, NO_WAIT, CommitLatencies
from rollout.engine.health import Signal
from rollout.engine.lanes import LEASE_SECONDS
from rollout.engine.target import Connection
from rollout.engine.throttles import Throttle
from rollout.engine.typed_queries import Query, Rows

# The most throttles that are read of a job, the newest.
MAX_THROTTLES = 20


@dataclass(frozen=True)
class PastThrottle:
    """A time in which a signal kept a worker below full speed, until it had recovered.

    ``value`` is the worst, ``share`` the least of the time; ``reason`` is that of the worst.
    """

    signal: str
    began: datetime
    ended: datetime
    value: float | None
    bound: float | None
    share: float
    reason: str


@dataclass(frozen=True)
class PastThrottles:
    """The newest throttles of a job, and how many there were."""

    rows: list[PastThrottle]
    number: int


class PaceRecord:
    """Writes a worker's pace down and times the commit.

    Who writes a row of ``own_tables`` of this database is none of the others.
    ``began`` is the throttle with which the worker begins: a run that continues, in this process or
    another, keeps its pace and its baseline. After a lease without a record, as after a crash or
    a pause, the baseline is measured again, before the work.
    """

    def __init__(
        self,
        connection: Connection,
        job: int,
        holder: str,
        *,
        own_tables: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._own_tables = list(own_tables)
        self._job = job
        self._holder = holder
        self._clock = clock
        # When the others' transactions were counted last, and how many there were.
        self._counted: tuple[float, int] | None = None
        self._waits = commit_latencies.wait_for_disk(connection)
        newest = _newest(job).ask(connection)
        self.began = newest.throttle if newest and newest.job == job else Throttle()
        self.latencies = newest.latencies if newest else self._measured()

    def _measured(self) -> CommitLatencies:
        self._connection.execute(sql.SQL("DELETE FROM rollout.paces WHERE NOT {}").format(_FRESH))
        unknown = CommitLatencies(baseline=0.0)
        times = [self._commit(Throttle(), unknown, 1)[0] for _ in range(BASELINE_COMMITS)]
        measured = CommitLatencies(baseline=median(times))
        self._commit(Throttle(), measured, 1)
        # What began the work comes before the first look.
        self._counted = None
        return measured

    def signal(self, limit_ms: float | None) -> Signal:
        return self.latencies.signal(limit_ms) if self._waits else NO_WAIT

    def record(self, throttle: Throttle, writes: int) -> None:
        """Write the pace down; ``writes`` are the worker's own transactions since the last time."""
        signals = {signal.name: signal for signal in (*throttle.above, throttle.cause) if signal}
        for signal in signals.values():
            self._connection.execute(_THROTTLED, self._throttled(throttle, signal))
            writes += 1
        commit, others = self._commit(throttle, self.latencies, writes)
        self.latencies = self.latencies.and_then(commit, others)

    def _commit(
        self, throttle: Throttle, latencies: CommitLatencies, writes: int
    ) -> tuple[float, float | None]:
        """How many milliseconds it takes, and how many transactions a second others wrote."""
        with self._connection.transaction():
            self._connection.execute("SET LOCAL synchronous_commit = on")
            self._connection.execute(
                _KEPT,
                {
                    "job": self._job,
                    "holder": self._holder,
                    "writes": writes,
                    "share": throttle.share,
                    "held": throttle.held,
                    "signal": throttle.cause.name if throttle.cause else "",
                    "reason": throttle.cause.reason if throttle.cause else "",
                    "baseline": latencies.baseline,
                    "commits": list(latencies.commits),
                    "others": list(latencies.others),
                },
            )
            counted = [self._own_tables, self._job]
            row = self._connection.execute(_TRANSACTIONS, counted).fetchone()
            assert row is not None
            before, self._counted = self._counted, (self._clock(), row[0])
            started = self._clock()
        ended = self._clock()
        others = None
        if before is not None and started > before[0]:
            # Now and then below zero: statistics of tables come a second late.
            others = (row[0] - before[1]) / (started - before[0])
        return (ended - started) * 1000, others

    def _throttled(self, throttle: Throttle, cause: Signal) -> dict[str, Any]:
        is_above = cause.status in ("throttle", "stop")
        return {
            "job": self._job,
            "signal": cause.name,
            "lease": LEASE_SECONDS,
            # While it recovers the value is another.
            "value": cause.value if is_above else None,
            "bound": cause.bound,
            "share": 0.0 if throttle.held else throttle.share,
            "reason": cause.reason,
        }


# A worker that has recorded nothing for longer counts as dead, as for a lane.
_FRESH = sql.SQL(
    "(at BETWEEN now() - make_interval(secs => {0}) AND now() + make_interval(secs => {0}))"
).format(sql.Literal(LEASE_SECONDS))
_KEPT = """
INSERT INTO rollout.paces AS p
  (job, holder, share, held, signal, reason, baseline, commits, others, writes)
VALUES (%(job)s, %(holder)s, %(share)s, %(held)s, %(signal)s, %(reason)s, %(baseline)s,
  %(commits)s, %(others)s, %(writes)s)
ON CONFLICT (job, holder) DO UPDATE SET at = now(), share = excluded.share, held = excluded.held,
  signal = excluded.signal, reason = excluded.reason, baseline = excluded.baseline,
  commits = excluded.commits, others = excluded.others, writes = p.writes + excluded.writes
"""
# Transaction ids are given to writers alone, of all databases of the server. The statistics of
# pg_stat_database come seconds late and count every reader.
#
# A transaction writes one row of our own tables.
_TRANSACTIONS = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - sum(writes)::bigint - (
       SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
         FROM pg_stat_user_tables WHERE relname = ANY (%s))
  FROM rollout.paces WHERE job = %s
"""
# In no transaction with the commit that is timed, since several workers of a job write this row.
_THROTTLED = """
WITH same AS (
  UPDATE rollout.throttles SET ended = now(), share = least(share, %(share)s),
         reason = CASE WHEN %(value)s > value THEN %(reason)s ELSE reason END,
         bound = CASE WHEN %(value)s > value THEN %(bound)s ELSE bound END,
         value = greatest(value, %(value)s)
   WHERE job = %(job)s AND signal = %(signal)s
     AND ended BETWEEN now() - make_interval(secs => %(lease)s)
                   AND now() + make_interval(secs => %(lease)s)
  RETURNING job)
INSERT INTO rollout.throttles (job, signal, value, bound, share, reason)
SELECT %(job)s, %(signal)s, %(value)s, %(bound)s, %(share)s, %(reason)s
 WHERE NOT EXISTS (SELECT FROM same)
"""


@dataclass(frozen=True)
class PaceNow:
    """The pace that a worker of a job recorded last."""

    job: int
    throttle: Throttle
    latencies: CommitLatencies


def pace_now(connection: Connection, job: int) -> PaceNow | None:
    """The newest pace of a job; None while no worker works on it."""
    newest = _newest(job).ask(connection)
    return newest if newest and newest.job == job else None


def _newest(job: int) -> Query[PaceNow | None]:
    """The newest pace of a job, else of any other: the server is the same."""
    query = sql.SQL(
        "SELECT job, share, held, signal, reason, baseline, commits, others FROM rollout.paces"
        " WHERE {} AND baseline > 0 ORDER BY job = {} DESC, at DESC LIMIT 1"
    ).format(_FRESH, sql.Literal(job))
    return Query(query, lambda rows: _pace(rows[0]) if rows else None)


def _pace(row: dict[str, Any]) -> PaceNow:
    cause = Signal(row["signal"], "ok", row["reason"]) if row["signal"] else None
    return PaceNow(
        job=row["job"],
        throttle=Throttle(share=row["share"], cause=cause, held=row["held"]),
        latencies=CommitLatencies(row["baseline"], tuple(row["commits"]), tuple(row["others"])),
    )


def throttles_of(job: int) -> Query[PastThrottles]:
    """What throttled a job, newest first."""
    query = sql.SQL(
        "SELECT signal, began, ended, value, bound, share, reason, count(*) OVER () AS number"
        " FROM rollout.throttles WHERE job = {} ORDER BY began DESC LIMIT {}"
    ).format(sql.Literal(job), sql.Literal(MAX_THROTTLES))
    return Query(query, _past)


def _past(rows: Rows) -> PastThrottles:
    number = rows[0]["number"] if rows else 0
    return PastThrottles(
        [PastThrottle(**{k: v for k, v in row.items() if k != "number"}) for row in rows], number
    )
