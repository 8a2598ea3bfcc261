"""A job's speed over time, and the time lost to each health signal, for the chart on its page."""

import time
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollout.engine.target import Connection
from rollout.engine.typed_queries import Query

# Fine enough that a job of ten seconds has a curve.
BUCKET_SECONDS = 1
# Seconds after which a job stores coarser throughputs: its chart shows no finer ones.
FINE_SECONDS, COARSE_BUCKET_SECONDS = 600, 5
# What has just begun waits for the next second.
MIN_FLUSH_SECONDS = 0.5
# Widths of the throughputs that are read, in seconds.
WIDTHS = (1, 2, 3, 4, 5, 10, 15, 20, 30, 45, 60, 90, 120, 300, 600, 1800, 3600, 21600, 86400)


@dataclass(frozen=True)
class Throughput:
    """What all workers of a job did in the ``seconds`` that began at ``at``."""

    at: datetime
    scanned: int
    updated: int
    working_seconds: float
    lost_seconds: float
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.scanned / self.seconds


@dataclass(frozen=True)
class Loss:
    """The seconds that a job has rested because of one sign."""

    signal: str
    seconds: float


class ThroughputRecord:
    """Adds batches up and stores them once a second, outside the batches' transactions.

    It does so when a second of the clock is over, so that no bucket is skipped.
    """

    def __init__(self, connection: Connection, job: int, lost: dict[str, float]) -> None:
        self._connection = connection
        self._job = job
        self._lost = lost
        self._written = dict(lost)
        self._flushed, self._second = time.monotonic(), int(time.time())
        self._scanned = self._updated = 0
        self._worked = 0.0

    def add(self, scanned: int, updated: int, worked: float) -> None:
        self._scanned += scanned
        self._updated += updated
        self._worked += worked
        is_over = int(time.time()) != self._second
        if is_over and time.monotonic() - self._flushed >= MIN_FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has come together."""
        # They belong to the bucket in which most of them were made.
        half = min(time.monotonic() - self._flushed, 1.0) / 2
        self._flushed, self._second = time.monotonic(), int(time.time())
        lost = {name: s - self._written.get(name, 0.0) for name, s in self._lost.items()}
        self._connection.execute(
            "INSERT INTO rollout.throughputs AS s (job, at, scanned, updated, working_seconds,"
            " lost_seconds) SELECT %s, to_timestamp("
            "floor((extract(epoch FROM now()) - %s) / width) * width), %s, %s, %s, %s"
            " FROM (SELECT CASE WHEN EXISTS (SELECT FROM rollout.throughputs WHERE job = %s"
            " AND at < now() - make_interval(secs => %s)) THEN %s ELSE %s END AS width) AS w"
            " ON CONFLICT (job, at) DO UPDATE SET"
            " scanned = s.scanned + excluded.scanned, updated = s.updated + excluded.updated,"
            " working_seconds = s.working_seconds + excluded.working_seconds,"
            " lost_seconds = s.lost_seconds + excluded.lost_seconds",
            [
                *(self._job, half),
                *(self._scanned, self._updated, self._worked, sum(lost.values())),
                *(self._job, FINE_SECONDS, COARSE_BUCKET_SECONDS, BUCKET_SECONDS),
            ],
        )
        for name, seconds in lost.items():
            if seconds:
                self._connection.execute(
                    "INSERT INTO rollout.losses AS l (job, signal, seconds) VALUES (%s, %s, %s)"
                    " ON CONFLICT (job, signal) DO UPDATE SET seconds = l.seconds"
                    " + excluded.seconds",
                    [self._job, name, seconds],
                )
        self._written = dict(self._lost)
        self._scanned = self._updated = 0
        self._worked = 0.0


def throughputs_of(job: int, *, most: int = 120) -> Query[list[Throughput]]:
    """A job's throughputs in order of time, put together so that there are at most that many.

    All have one width, and none is finer than what was stored.
    """
    query = sql.SQL(
        """
        WITH s AS (
          SELECT *, at - lag(at) OVER (ORDER BY at) AS apart
            FROM rollout.throughputs WHERE job = {job}
        ), w AS (
          SELECT coalesce(min(width) FILTER (WHERE width >= greatest(apart, span / ({most} - 1))),
                          max(width)) AS width
            FROM unnest({widths}::int[]) AS width, (
              SELECT least(extract(epoch FROM min(apart)), {coarse}) AS apart,
                     extract(epoch FROM max(at) - min(at)) AS span FROM s
            ) AS t
        )
        SELECT to_timestamp(floor(extract(epoch FROM at) / width) * width) AS at,
               sum(scanned)::bigint AS scanned, sum(updated)::bigint AS updated,
               sum(working_seconds) AS working_seconds, sum(lost_seconds) AS lost_seconds,
               width::float8 AS seconds
          FROM s, w GROUP BY 1, width ORDER BY 1
        """
    ).format(
        job=sql.Literal(job),
        most=sql.Literal(most),
        widths=sql.Literal(list(WIDTHS)),
        coarse=sql.Literal(COARSE_BUCKET_SECONDS),
    )
    return Query(query, lambda rows: [Throughput(**row) for row in rows])


def losses_of(job: int) -> Query[list[Loss]]:
    """What a job has lost to each sign, most first."""
    query = sql.SQL(
        "SELECT signal, seconds FROM rollout.losses WHERE job = {} ORDER BY seconds DESC"
    ).format(sql.Literal(job))
    return Query(query, lambda rows: [Loss(**row) for row in rows])
