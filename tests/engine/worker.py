"""A worker in a process of its own: works on the lanes of one job until they end.

Prints "working" before its first batch. It is there to be killed, so nothing makes it yield.
"""

import sys

from psycopg import conninfo

from rollout.engine import lanes
from rollout.engine.target import Target
from rollout.plan.transition import fill
from tests.engine import actions
from tests.engine.samples import BIGINT
from tests.plan.test_extractions import HOME, PLAN

FILLS = {
    "the sample": lambda: fill(BIGINT.plan, BIGINT.table),
    "the extraction": lambda: fill(PLAN, HOME),
}


def main(address: str, job: int, stripes: int, name: str = "the sample") -> None:
    with Target(conninfo.conninfo_to_dict(address)).connect() as connection:
        working = actions.worker(connection, FILLS[name](), stripes=stripes)
        connection.execute("SET lock_timeout = 0")
        print("working", flush=True)
        while lane := lanes.claim(connection, job, "a process"):
            working.run_lane(lane, seconds=600)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
