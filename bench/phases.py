"""The command: `python -m bench.phases`, or `make bench-phases ROWS=2000000`.

The property rollout by the real queue, with 300 transactions a second of an application beside it:
phases 1, 3 and 4 and all of the way back. Phase 0 and the backfill run alone in between.
"""

import argparse
import json
import sys

from bench.server import server, set_up_django

ROWS = 2_000_000
WARM_UP = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.phases", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=WARM_UP,
        help="seconds of the application alone before the phases and after (%(default)s)",
    )
    arguments = parser.parse_args()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench.phase_run import PhaseRuns

        report = PhaseRuns(database, arguments.rows, arguments.warm_up).report()
    print("\n".join(report.lines()), end="\n\n")
    print(json.dumps(report.as_dict()))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
