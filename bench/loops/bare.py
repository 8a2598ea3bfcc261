"""The engine's striped loop alone: no queue, no journal, no final sweep."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.loops.base import Bounds, Copy, Run, Stopwatch, Work
from rollout.engine import backfill, lane_totals, lanes, planner
from rollout.engine.control import NullControl

JOB = 1


@contextmanager
def bare(copy: Copy) -> Iterator[Run]:
    fill = copy.fill
    with copy.database.connect() as connection:

        def run(bounds: Bounds) -> Work:
            watch = Stopwatch(bounds)
            chosen = planner.choose(connection, fill)
            lanes.create(connection, JOB, fill.table)
            backfill.prepare_session(connection)
            worker = backfill.Worker(
                connection, fill, stripes=chosen.stripes, control=NullControl()
            )
            while lane := lanes.claim(connection, JOB, "bench"):
                worker.run_lane(lane, seconds=bounds.seconds)
            return watch.work(lane_totals.totals(connection, JOB).updated)

        yield run
