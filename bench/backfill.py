"""The command: `python -m bench.backfill`, or `make bench ROWS=2000000`."""

import argparse
import json
import sys

from bench.server import server, set_up_django

ROWS = 2_000_000
TRAFFIC_SECONDS = 20.0
STATEMENTS = 1_000
LOOPS = (
    *("rollout", "single_update", "keyset", "trigger_touch", "bulk_update"),
    "table_rewrite",
)
KEYS = ("uuid", "bigint")


def main() -> None:
    arguments = _arguments()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench.loops import LOOPS
        from bench.run import KeyRun, Settings

        loops = {name: LOOPS[name] for name in arguments.loops}
        settings = Settings(arguments.rows, loops, arguments.traffic_seconds, arguments.statements)
        reports = [KeyRun(database, key, settings).report() for key in arguments.keys]
    for report in reports:
        print("\n".join(report.lines()), end="\n\n")
    print(json.dumps([report.as_dict() for report in reports]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument(
        "--traffic-seconds",
        type=float,
        default=TRAFFIC_SECONDS,
        help="how long a loop that can be stopped runs beside the application (%(default)s)",
    )
    parser.add_argument(
        "--statements",
        type=int,
        default=STATEMENTS,
        help="how many of each kind are timed in each stage of the triggers (%(default)s)",
    )
    parser.add_argument("--keys", nargs="+", choices=KEYS, default=KEYS)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
