"""Dumps of filled tables, as a snapshot takes them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from rollout.engine.snapshot import scratch
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.programs import find_programs
from rollout.engine.snapshot.restore import Recorded
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.actions import NoControl, do_phase
from tests.engine.samples import BIGINT, DIRTY, Sample

CONTROL = NoControl()
ROWS = 60


def filled(target: Target, connection: Connection, sample: Sample = BIGINT) -> Plan:
    """A table of things, carried to the end of phase 2."""
    sample.create(connection)
    for number in range(ROWS):
        sample.insert(connection, number, kind=DIRTY[number % len(DIRTY)], state="open")
    for phase in (0, 1, 2):
        do_phase(target, connection, sample.plan, phase)
    return sample.plan


@contextmanager
def taken(target: Target, plan: Plan) -> Iterator[tuple[Archive, Recorded]]:
    programs = find_programs(18)
    with target.connect() as connection, exported(connection, plan, CONTROL) as export:
        whole = b"".join(dump(programs, target, export, CONTROL))
        needed = prerequisites(programs, target, export, CONTROL)
    recorded = Recorded(export.contents, needed, export.left_out)
    yield Archive(programs, lambda: io.BytesIO(whole), CONTROL), recorded


def scratch_databases(connection: Connection, snapshot: int) -> list[str]:
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)",
        [scratch.prefix_of(connection, snapshot)],
    ).fetchall()
    return [row[0] for row in rows]
