"""`python -m bench.peers.site.comparison`: the new columns compared with the old by data-diff.

Prints JSON: how long it took, without the start of Python, and how many rows differ.
"""

import json
import os
import sys
import time

from data_diff import Algorithm, connect_to_table, diff_tables, disable_tracking

COLUMNS = ("type_id", "status_id")


def main(algorithm: str) -> None:
    disable_tracking()
    address = {
        "driver": "postgresql",
        "host": os.environ["PEER_HOST"],
        "user": os.environ["PEER_USER"],
        "password": "",
        "database": os.environ["PEER_DATABASE"],
    }
    started = time.perf_counter()
    actual, expected = (
        connect_to_table(address, name, "id") for name in ("listings", "expected_listings")
    )
    differences = diff_tables(
        actual, expected, extra_columns=COLUMNS, algorithm=Algorithm(algorithm)
    )
    keys = {row[0] for _, row in differences}
    print(json.dumps({"seconds": time.perf_counter() - started, "differing": len(keys)}))


if __name__ == "__main__":
    main(sys.argv[1])
