"""A job's speed over time, and the time lost to each health signal, for the chart on its page."""

import time
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollout.engine.target import Connection
from rollout.engine.typed_queries import Query

BUCKET_SECONDS = 5


@dataclass(frozen=True)
class Sample:
    """What all workers of a job did in the ``BUCKET_SECONDS`` that began at ``at``."""

    at: datetime
    scanned: int
    updated: int
    working_seconds: float
    lost_seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.scanned / BUCKET_SECONDS


@dataclass(frozen=True)
class Loss:
    """The seconds that a job has rested because of one sign."""

    signal: str
    seconds: float


class Sampler:
    """Adds batches up and stores them about once a second, outside the batches' transactions."""

    def __init__(self, connection: Connection, job: int, lost: dict[str, float]) -> None:
        self._connection = connection
        self._job = job
        self._lost = lost
        self._written = dict(lost)
        self._flushed = time.monotonic()
        self._scanned = self._updated = 0
        self._worked = 0.0

    def add(self, scanned: int, updated: int, worked: float) -> None:
        self._scanned += scanned
        self._updated += updated
        self._worked += worked
        if time.monotonic() - self._flushed >= 1.0:
            self.flush()

    def flush(self) -> None:
        """Write what has come together."""
        self._flushed = time.monotonic()
        lost = {name: s - self._written.get(name, 0.0) for name, s in self._lost.items()}
        self._connection.execute(
            "INSERT INTO rollout.samples AS s (job, at, scanned, updated, working_seconds,"
            " lost_seconds) VALUES (%s, to_timestamp(floor(extract(epoch FROM now()) / %s) * %s),"
            " %s, %s, %s, %s) ON CONFLICT (job, at) DO UPDATE SET"
            " scanned = s.scanned + excluded.scanned, updated = s.updated + excluded.updated,"
            " working_seconds = s.working_seconds + excluded.working_seconds,"
            " lost_seconds = s.lost_seconds + excluded.lost_seconds",
            [
                *(self._job, BUCKET_SECONDS, BUCKET_SECONDS),
                *(self._scanned, self._updated, self._worked, sum(lost.values())),
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


def samples_of(job: int, *, most: int = 120) -> Query[list[Sample]]:
    """A job's samples in order of time, put together so that there are at most that many."""
    query = sql.SQL(
        """
        SELECT min(at) AS at, avg(scanned)::bigint AS scanned, avg(updated)::bigint AS updated,
               avg(working_seconds) AS working_seconds, avg(lost_seconds) AS lost_seconds
          FROM (SELECT *, ntile({}) OVER (ORDER BY at) AS part FROM rollout.samples
                 WHERE job = {}) AS s
         GROUP BY part ORDER BY 1
        """
    ).format(sql.Literal(most), sql.Literal(job))
    return Query(query, lambda rows: [Sample(**row) for row in rows])


def losses_of(job: int) -> Query[list[Loss]]:
    """What a job has lost to each sign, most first."""
    query = sql.SQL(
        "SELECT signal, seconds FROM rollout.losses WHERE job = {} ORDER BY seconds DESC"
    ).format(sql.Literal(job))
    return Query(query, lambda rows: [Loss(**row) for row in rows])
