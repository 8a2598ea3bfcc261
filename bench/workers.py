"""The command: `python -m bench.workers`, or `make bench-workers ROWS=2000000`.

How fast a backfill gets with workers and cores: every combination on a fresh copy, by the real
queue, with server and workers confined to so many cores. Speeds are compared within the run alone:
the first combination is run again at the end, and says how far the machine drifted meanwhile.

The last line is JSON: {"rows", "combinations": [{"cores", "workers", "rows_per_s", "ratio", …}],
"drift"}. A ratio is the speed against that of the first combination; so is the drift.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.server import Database, copy_of, server, set_up_django
from config import embedded

ROWS = 2_000_000
WORKERS = (1, 2, 4)
KEY = "uuid"
# Before the first batch, which is sooner than anybody could say it on the job's page.
SHARED_BY = """
CREATE FUNCTION shared() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.workers := {workers}; RETURN NEW; END $$;
CREATE TRIGGER shared BEFORE INSERT ON rollout_backfilljob FOR EACH ROW EXECUTE FUNCTION shared()
"""


def main() -> None:
    arguments = _arguments()
    with server() as database:
        set_up_django(database)
        # Loaded only now: what follows reads Django's models.
        from bench import template
        from bench.run import say

        say(f"making {arguments.rows:,} rows")
        filled = template.make(database, KEY, arguments.rows)
        wanted = list(itertools.product(arguments.cores, arguments.workers))
        results: list[dict[str, Any]] = []
        for cores, workers in [*wanted, wanted[0]]:
            results.append(_measured(filled, arguments.rows, cores=cores, workers=workers))
            say(_line(results[-1]))
    for figures in results:
        figures["ratio"] = round(figures["rows_per_s"] / results[0]["rows_per_s"], 3)
    *combinations, again = results
    for figures in combinations:
        print(f"{_line(figures)}, × {figures['ratio']:.2f}")
    print(f"The first combination once more: × {again['ratio']:.2f}.")
    print(
        json.dumps(
            {"rows": arguments.rows, "combinations": combinations, "drift": again["ratio"]},
        )
    )


def _measured(filled: Database, rows: int, *, cores: int, workers: int) -> dict[str, Any]:
    from bench.loops.base import Copy
    from bench.loops.rollout import backfill
    from bench.loops.rollout import workers as workers_of
    from bench.measure import hot_share, sizes

    with (
        copy_of(filled) as database,
        database.connect() as connection,
        _confined(database.home / "postgres", cores),
    ):
        connection.execute(SHARED_BY.format(workers=workers).encode())
        before = sizes(connection)
        with workers_of(database, number=workers):
            work = backfill(Copy(database, KEY, rows))
        after = sizes(connection)
        return {
            "cores": cores,
            "workers": workers,
            "rows_per_s": round(work.rows_per_second),
            "table_growth": round(after.table / before.table, 3),
            "wal_bytes": after.wal - before.wal,
            "hot_share": round(hot_share(connection) or 0.0, 3),
        }


@contextmanager
def _confined(data: Path, cores: int) -> Iterator[None]:
    """Let the server and what this process starts use so many cores; Linux alone can do that."""
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("Confining processes to cores needs Linux.")
    every = os.sched_getaffinity(0)
    postmaster = embedded.running(data)
    assert postmaster is not None

    def confine(to: Sequence[int]) -> None:
        # What the server and we start from now on inherits it.
        os.sched_setaffinity(0, to)
        for process in (postmaster, *postmaster.children(recursive=True)):
            process.cpu_affinity(list(to))

    confine(sorted(every)[:cores])
    try:
        yield
    finally:
        confine(sorted(every))


def _line(figures: dict[str, Any]) -> str:
    return (
        f"{figures['cores']} cores, {figures['workers']} workers: "
        f"{figures['rows_per_s']:,} rows/s, {figures['wal_bytes'] / 1e6:,.0f} MB of WAL, "
        f"table × {figures['table_growth']:.2f}, HOT {figures['hot_share']:.0%}"
    )


def _arguments() -> argparse.Namespace:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        choices=range(1, there + 1),
        default=[n for n in (1, 2, 4, 8, 16, 32) if n <= there],
        help="how many of this machine's (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
