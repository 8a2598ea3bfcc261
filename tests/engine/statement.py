"""A worker in a process of its own: carries one statement of the stepping plan out.

Prints the process id of its session first. It is there to be killed in the middle.
"""

import sys

from psycopg import conninfo

from rollout.engine import ddl
from rollout.engine.target import Target
from tests.engine.carrying import NoControl
from tests.engine.stepping import statements


def main(address: str, number: int) -> None:
    with Target(conninfo.conninfo_to_dict(address)).connect() as connection:
        print(connection.info.backend_pid, flush=True)
        ddl.apply(connection, statements()[number].statement, NoControl())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
