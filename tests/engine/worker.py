"""A worker in a process of its own, to be killed: works on one job of the sample until it ends.

Prints "working" before its first batch.
"""

import sys

from psycopg import conninfo

from rollout.engine import backfill
from rollout.engine.target import Target
from rollout.plan.transition import fill
from tests.engine.carrying import NoControl
from tests.engine.samples import BIGINT


def main(address: str, job: int, stripes: int) -> None:
    with Target(conninfo.conninfo_to_dict(address)).connect() as connection:
        backfill.prepare_session(connection)
        connection.execute("SET lock_timeout = 0")
        lane = backfill.claim(connection, job, "to be killed")
        assert lane is not None
        print("working", flush=True)
        backfill.work(
            connection,
            fill(BIGINT.plan, BIGINT.table),
            lane,
            stripes=stripes,
            seconds=600,
            control=NoControl(),
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
