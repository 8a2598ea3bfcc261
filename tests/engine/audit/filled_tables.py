"""Tables that these audits read, filled by their plan."""

from rollout.engine.target import Connection, Target
from tests.engine.actions import do_until
from tests.engine.samples import BIGINT, Sample

KINDS = ("House", " house", "Flat")


def filled(target: Target, connection: Connection, rows: int, sample: Sample = BIGINT) -> None:
    sample.create(connection)
    for number in range(rows):
        sample.insert(connection, number, kind=KINDS[number % 3], state="Open")
    do_until(target, connection, sample.plan, "backfill")
