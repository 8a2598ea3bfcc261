"""Runs every loop on fresh copies for one type of key: alone, and beside an application."""

import math
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from bench import statements, template
from bench.loops import bare
from bench.loops.base import Bounds, Copy, Loop, Work
from bench.measure import hot_share, sizes
from bench.report import KeyReport
from bench.server import Database, copy_of
from bench.traffic import Latencies, Traffic, busy_core, scripts_of_listings, traffic

SAMPLED = ("trigger_touch", "bulk_update")
"""Loops too slow to go to the end: they are stopped after a while."""
IN_ONE_TRANSACTION = ("single_update", "RunPython")
"""Loops that cannot be stopped half-way."""
DRAIN_SHARE = 0.2
"""How long an application that was held up may take to catch up, as a share of the time it was."""


class WrongResult(Exception):
    """A loop left another number of rows unfilled than it says."""


@dataclass(frozen=True)
class Settings:
    """What is run, and for how long: ``traffic_seconds`` beside a loop that can be stopped.

    ``statements`` of each kind are timed, in each stage of the triggers; none with 0.
    """

    rows: int
    loops: Mapping[str, Loop]
    traffic_seconds: float
    statements: int = 0

    @property
    def sample_seconds(self) -> float:
        """How long a loop of ``SAMPLED`` has the server to itself."""
        return self.traffic_seconds * 1.5

    @property
    def warm_up(self) -> float:
        """How long traffic runs before anything is measured, and at least after."""
        return min(3.0, self.traffic_seconds)


class KeyRun:
    """The benchmark of one type of key."""

    def __init__(self, server: Database, key: str, settings: Settings) -> None:
        self.server, self.key, self.settings = server, key, settings

    def report(self) -> KeyReport:
        started = time.monotonic()
        say(f"{self.key}: making {self.settings.rows:,} rows")
        self.template = template.make(self.server, self.key, self.settings.rows)
        say(f"{self.key}: made in {time.monotonic() - started:.0f} s")
        report = KeyReport(
            self.settings.rows, self.key, idle=self._idle(), busy_core=self._busy_core()
        )
        if timed := self.settings.statements:
            report.statements = statements.measure(self.template, self.key, timed)
            say(f"{self.key}: statements with and without triggers timed")
        report.bare = self._alone("bare", bare)
        for name, loop in self.settings.loops.items():
            report.loops[name] = self.figures(name, loop)
        return report

    def figures(self, name: str, loop: Loop) -> dict[str, Any]:
        """Of one loop, alone and beside an application."""
        figures = self._alone(name, loop)
        return figures | self._beside_traffic(name, loop, figures["rows_per_s"])

    def _alone(self, name: str, loop: Loop) -> dict[str, Any]:
        """Speed, WAL, growth and HOT share of a loop that has the server to itself."""
        seconds = self.settings.sample_seconds if name in SAMPLED else math.inf
        with copy_of(self.template) as database, database.connect() as connection:
            copy = Copy(database, self.key, self.settings.rows)
            with loop(copy) as run:
                before = sizes(connection)
                work = run(Bounds(self.settings.rows, seconds))
            # The first reader of what a loop wrote marks it in the WAL as committed: part of the
            # loop's price. Only this engine has read everything by itself by now.
            left = connection.execute(copy.fill.unfilled(sql.SQL("true"))).fetchone()
            after = sizes(connection)
            figures: dict[str, Any] = {
                "rows_per_s": work.rows_per_second,
                "share": self._share(work),
                "seconds": work.ended - work.started,
                "wal_bytes": after.wal - before.wal,
                "table_growth": after.table / before.table,
                "index_growth": after.indexes / before.indexes,
                "hot_share": hot_share(connection),
                **work.extra,
            }
            if left is None or left[0] != self.settings.rows - work.rows:
                raise WrongResult(f"{name}: {work.rows} rows written, {left} left unfilled")
        say(
            f"{self.key}: {name}: {figures['rows_per_s']:,.0f} rows/s, "
            f"{figures['wal_bytes'] / 1e6:,.0f} MB of WAL, table × {figures['table_growth']:.2f}"
        )
        return figures

    def _beside_traffic(self, name: str, loop: Loop, rows_per_second: float) -> dict[str, Any]:
        """What an application sees of a loop that continues for about the time of the traffic."""
        seconds = self.settings.traffic_seconds
        rows = self.settings.rows
        if name in IN_ONE_TRANSACTION:
            # It gets the rows that it can do in the time.
            rows = min(rows, math.ceil(rows_per_second * seconds))
        with copy_of(self.template) as database:
            copy = Copy(database, self.key, self.settings.rows)
            with (
                loop(copy) as run,
                self._traffic(database) as application,
            ):
                work = run(Bounds(rows, seconds))
                application.stop(
                    drain=self.settings.warm_up + DRAIN_SHARE * (work.ended - work.started)
                )
        latencies = application.between(work.started, work.ended)
        self._say_latencies(name, latencies)
        return {
            **latencies.as_dict(),
            "app_share": self._share(work),
            "app_seconds": work.ended - work.started,
            "app_rows_per_s": work.rows_per_second,
        }

    def _busy_core(self) -> dict[str, Any]:
        """The application beside a process that computes and never touches the database.

        What any loop costs that keeps one core busy, on this machine.
        """
        with busy_core(self.template):
            return self._idle("busy core")

    def _idle(self, name: str = "idle") -> dict[str, Any]:
        """The application with the server to itself."""
        with (
            copy_of(self.template) as database,
            self._traffic(database) as application,
        ):
            started = time.time()
            time.sleep(self.settings.traffic_seconds)
            ended = time.time()
            application.stop(drain=0)
        latencies = application.between(started, ended)
        self._say_latencies(name, latencies)
        return latencies.as_dict()

    def _traffic(self, database: Database) -> AbstractContextManager[Traffic]:
        return traffic(
            database,
            scripts_of_listings(self.key),
            self.settings.rows,
            warm_up=self.settings.warm_up,
        )

    def _share(self, work: Work) -> float:
        return work.rows / self.settings.rows

    def _say_latencies(self, name: str, latencies: Latencies) -> None:
        say(
            f"{self.key}: {name}, application: p50 {latencies.p50:.1f} ms, "
            f"p99 {latencies.p99:.1f} ms, longest {latencies.longest:.0f} ms, "
            f"{latencies.transactions:,} transactions, {latencies.errors} errors"
        )


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
