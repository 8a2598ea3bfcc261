"""The command: `python -m bench.phases`, or `make bench-phases ROWS=2000000`.

The property rollout by the real queue, with 300 transactions a second of an application beside it:
phases 1 to 4 and all of the way back; before that phase 0, alone. All of that several times,
because an application's longest wait is one event: its median counts.
`--of keys` widens an integer key and what refers to it instead, `--of partitions` that of a table
with twelve partitions. A lock's time is that from the moment it is granted; waits for it are those
of the application, and the lock timeouts.

The last line is JSON: {"runs": [figures], "targets": {name: {a bound, "reached", "met"}}}.
"""

import argparse
import json
import sys

from bench.phase_report import target_lines, targets
from bench.server import server, set_up_django

ROWS = 2_000_000
RUNS = 3
WARM_UP = 5.0
IDLE_SECONDS = 60.0
OF = ("properties", "keys", "partitions")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.phases", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=WARM_UP,
        help="seconds of the application alone before the phases and after (%(default)s)",
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=IDLE_SECONDS,
        help="seconds of the application alone that its longest wait is measured in (%(default)s)",
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="how often (%(default)s)")
    parser.add_argument("--of", choices=OF, default=OF[0], help="whose rollout (%(default)s)")
    arguments = parser.parse_args()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench.phase_run import SUBJECTS, PhaseRuns

        reports = [
            PhaseRuns(
                database,
                f"phases_{number}",
                SUBJECTS[arguments.of],
                arguments.rows,
                warm_up=arguments.warm_up,
                idle_seconds=arguments.idle_seconds,
            ).report()
            for number in range(arguments.runs)
        ]
    for report in reports:
        print("\n".join(report.lines()), end="\n\n")
    print("\n".join(target_lines(reports)), end="\n\n")
    runs = [report.as_dict() for report in reports]
    print(json.dumps({"runs": runs, "targets": targets(reports)}))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
