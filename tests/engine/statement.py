"""Workers in processes of their own: each carries one statement of the stepping plan out.

They are there to be killed in the middle. For each number that it reads, this one forks a worker,
which takes a moment where a Python of its own would take a second, and answers with the worker's
process id and its session's, then waits for its death.
"""

import os
import sys

from psycopg import conninfo

from rollout.engine import ddl
from rollout.engine.target import Target
from rollout.plan.actions import Statement
from tests.engine.actions import NoControl
from tests.engine.plan_statements import statements


def main(address: str) -> None:
    statements_of = statements()
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            try:
                carry_out(address, statements_of[int(line)].statement)
            finally:
                os._exit(0)
        os.waitpid(worker, 0)


def carry_out(address: str, statement: Statement) -> None:
    with Target(conninfo.conninfo_to_dict(address)).connect() as connection:
        print(os.getpid(), connection.info.backend_pid, flush=True)
        ddl.apply(connection, statement, NoControl())


if __name__ == "__main__":
    main(sys.argv[1])
