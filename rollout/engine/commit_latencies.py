"""How long a small synchronous commit takes on a server, before a run's work and beside it.

The commit that is timed is the one with which a worker writes its pace down about once a second:
an application that is not instrumented waits for the same disk. Nothing is lost to it where nobody
else commits, so it counts only while others write too.
"""

from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Self

from psycopg import sql

from rollout.engine.health import Signal, Status
from rollout.engine.target import Connection, fetch_bool

NAME = "commit latency"
# Commits before the work, one after the other. Three that meet a stall leave the median as it is.
BASELINE_COMMITS = 7
# Number of recent commits compared: two that meet a stall are no trend.
WINDOW = 5
MIN_COMMITS = 3
# What one look counts too much or too little the next ones make good.
OTHERS_WINDOW = 9
# Too slow is above the baseline by both this factor and this difference, which nobody feels.
SLOWER_TIMES = 2.0
SLOWER_MS = 10.0
# Factor of the limit above which the work is held.
HARD_TIMES = 4.0
# With fewer nobody waits: autovacuum, a monitoring agent, what of our own is not counted exactly.
MIN_OTHERS_PER_SECOND = 3.0

# Where commits do not wait, nobody waits for the disk, and a machine with much to do is no sign.
NO_WAIT = Signal(NAME, "ok", "Commits on this server do not wait for the disk.")


def wait_for_disk(connection: Connection) -> bool:
    """Whether commits wait for the disk, unless a session sets it otherwise."""
    return fetch_bool(
        connection,
        sql.SQL(
            "current_setting('fsync') = 'on' AND (SELECT reset_val <> 'off' FROM pg_settings"
            " WHERE name = 'synchronous_commit')"
        ),
    )


@dataclass(frozen=True)
class CommitLatencies:
    """What is known of a server's commits, all in milliseconds, and of who else commits there.

    ``others`` are transactions a second that wrote and were not this job's.
    """

    baseline: float
    commits: tuple[float, ...] = ()
    others: tuple[float, ...] = ()

    def and_then(self, commit: float, others: float | None) -> Self:
        """The same after one more commit, and a rate of others' transactions where it is known."""
        others_now = self.others if others is None else (*self.others, others)[-OTHERS_WINDOW:]
        return replace(self, commits=(*self.commits, commit)[-WINDOW:], others=others_now)

    @property
    def others_write(self) -> bool | None:
        """Whether other sessions commit so often that somebody waits; None while unknown."""
        if len(self.others) < MIN_COMMITS:
            return None
        return mean(self.others) >= MIN_OTHERS_PER_SECOND

    def limit(self, asked: float | None) -> float:
        """The soft bound: what somebody set for the job, else from the baseline."""
        return asked or max(self.baseline * SLOWER_TIMES, self.baseline + SLOWER_MS)

    def signal(self, asked: float | None) -> Signal:
        """How the commits are, measured by the limit. With too few of them nobody knows."""
        if len(self.commits) < MIN_COMMITS:
            before = f"A small commit took {self.baseline:,.1f} ms before the work"
            reason = f"{before}; too few measured since."
            return Signal(NAME, "unknown", reason)
        value, limit = median(self.commits), self.limit(asked)
        reason = (
            f"A small commit takes {value:,.1f} ms: baseline {self.baseline:,.1f} ms, "
            f"limit {limit:,.1f} ms."
        )
        if value <= limit:
            return Signal(NAME, "ok", reason, value, limit)
        if self.others_write is False:
            reason += " No other session writes, so nothing is throttled."
            return Signal(NAME, "ok", reason, value, limit)
        status: Status = "stop" if value > limit * HARD_TIMES else "throttle"
        return Signal(NAME, status, reason, value, limit)
