"""What every loop is: something made ready on a copy, and then run within bounds."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.rollout import PLANS
from bench.server import Database
from rollout.plan import Plan
from rollout.plan.actions import Fill
from rollout.plan.transition import fill

BATCH = 1000
"""Rows of a batch, in the loops that have batches of a fixed size."""


@dataclass(frozen=True)
class Copy:
    """A fresh copy of the template of a key type."""

    database: Database
    key: str
    rows: int

    @property
    def plan(self) -> Plan:
        return PLANS[self.key]

    @property
    def fill(self) -> Fill:
        """What the engine would do: every loop writes the same values."""
        return fill(self.plan, self.plan.tables[0])


@dataclass(frozen=True)
class Bounds:
    """How far a loop goes that need not go to the end: after either it stops."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class Work:
    """What a loop did: rows, between two moments in seconds since the epoch."""

    rows: int
    started: float
    ended: float
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        return self.rows / max(self.ended - self.started, 0.001)


Run = Callable[[Bounds], Work]
Loop = Callable[[Copy], AbstractContextManager[Run]]
"""Makes ready on a copy, and gives what starts the work; connections close with the block."""


class Stopwatch:
    """Counts rows against bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.rows = 0
        self.started = time.time()

    @property
    def goes_on(self) -> bool:
        in_time = time.time() - self.started < self.bounds.seconds
        return in_time and self.rows < self.bounds.rows

    def work(self, rows: int | None = None) -> Work:
        return Work(self.rows if rows is None else rows, self.started, time.time())
