"""The command: `python -m bench.scale`, or `make bench-scale`; ROWS="1000000 5000000" for others.

The property rollout by the real queue at several sizes, one after the other, and all the way back:
how fast rows are filled, archived, restored and audited, how much memory a worker takes, how large
checkpoints and journal get, and how long each page takes. Says first how much disk that needs, and
leaves out the sizes for which there is no room.

The last line is JSON: {"sizes": {rows: figures}, "left_out": [rows], "targets": {…}}.
"""

import argparse
import json
import os
import sys
from typing import Any

from bench.server import server, set_up_django

ROWS = (1_000_000, 5_000_000, 20_000_000)
REQUESTS = 20


def main() -> None:
    arguments = _arguments()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench import scale_report, scale_run
        from bench.run import say

        sizes, left_out = scale_run.fitting(database.home, sorted(set(arguments.rows)))
        for rows in left_out:
            say(f"{rows:,} rows are left out: no room")
        results: dict[int, dict[str, Any]] = {}
        for rows in sizes:
            results[rows] = scale_run.figures(database, rows, arguments.requests)
            say(f"{rows:,} rows: {results[rows]}")
    targets = scale_report.targets(results)
    print("\n".join(scale_report.lines(results, left_out, targets)), end="\n\n")
    print(json.dumps({"sizes": results, "left_out": left_out, "targets": targets}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="sizes (%(default)s)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each page (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    # Pages without collected static files.
    os.environ.setdefault("ROLLOUT_TESTING", "1")
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
