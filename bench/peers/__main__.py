"""The command: `python -m bench.peers`, or `make bench-peers ROWS=200000`.

The peers that exist as packages beside this engine, in one run: backfills alone, beside an
application and through a kill -9, and the comparison of old and new columns. The peers are
installed from the package registry into environments of their own, by the Python that
PEERS_PYTHON names (3.12 or newer). One that does not run here is named with the reason.

The last line is JSON: {"rows", "backfills": {name: figures}, "kills": {name: figures},
"comparisons": {name: figures}, "does_not_run": {name: reason}, "versions": {environment: text}}.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bench.server import server, set_up_django

ROWS = 200_000
TRAFFIC_SECONDS = 20.0
KEY = "uuid"


def main() -> None:
    arguments = _arguments()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench.loops.rollout import whole_path
        from bench.peers import report
        from bench.peers.comparisons import comparisons
        from bench.peers.environments import DATA_DIFF, DJANGO, NotRunning
        from bench.peers.environments import versions as versions_of
        from bench.peers.kills import killed
        from bench.peers.writers import MaintenanceTasks, Make, Rollout, RunPython, loop
        from bench.run import KeyRun, Settings, say

        writers: dict[str, Make] = {"rollout": Rollout}
        does_not_run: dict[str, str] = {}
        versions: dict[str, str] = {}
        say(f"installing {', '.join((*DJANGO.packages, *DATA_DIFF.packages))}")
        # Django's own migration runs with the Django of this environment unless that is missing.
        python = Path(sys.executable)
        try:
            python = DJANGO.python()
            versions["django"] = DJANGO.versions()
            writers["django-maintenance-tasks"] = partial(MaintenanceTasks, python=python)
        except NotRunning as reason:
            does_not_run["django-maintenance-tasks"] = str(reason)
            versions["django"] = versions_of(python, ["Django"])
        writers["RunPython"] = partial(RunPython, python=python)
        try:
            versions["data-diff"] = DATA_DIFF.versions()
        except NotRunning as reason:
            does_not_run["data-diff"] = str(reason)
        settings = Settings(arguments.rows, {"rollout": whole_path}, arguments.traffic_seconds)
        run = KeyRun(database, KEY, settings)
        backfills = run.report()
        kills: dict[str, Any] = {}
        for name, make in writers.items():
            try:
                if make is not Rollout:
                    backfills.loops[name] = run.figures(name, loop(make))
                kills[name] = killed(run.template, KEY, arguments.rows, make).as_dict()
            except NotRunning as reason:
                does_not_run[name] = str(reason)
                continue
            say(f"{name}, kill -9: {kills[name]}")
        compared = comparisons(
            run.template,
            KEY,
            arguments.rows,
            arguments.traffic_seconds,
            data_diff="data-diff" in versions,
        )
    print("\n".join(report.lines(backfills, kills, compared, does_not_run, versions)), end="\n\n")
    print(
        json.dumps(
            {
                "rows": arguments.rows,
                "backfills": backfills.as_dict()["loops"],
                "idle": backfills.as_dict()["idle"],
                "busy_core": backfills.as_dict()["busy_core"],
                "kills": kills,
                "comparisons": compared,
                "does_not_run": does_not_run,
                "versions": versions,
            }
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument(
        "--traffic-seconds",
        type=float,
        default=TRAFFIC_SECONDS,
        help="how long each runs beside the application (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
