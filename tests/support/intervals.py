"""Intervals that are shorter in processes that a test starts, so that it waits for none of them.

As a program (``python -m tests.support.intervals PROGRAM …``) it runs one with them.
"""

import json
import os
import sys
from datetime import timedelta
from importlib import import_module

# The path of each constant, and its seconds in the processes that have this variable.
VARIABLE = "ROLLOUT_TEST_INTERVALS"


def shorter(intervals: dict[str, float]) -> dict[str, str]:
    """The variable for processes that are to have these intervals."""
    return {VARIABLE: json.dumps(intervals)}


# A watchdog that looks twice a second.
QUICK_WATCHDOG = shorter(
    {
        "rollout.watchdog.loop.LOOK_SECONDS": 0.5,
        "rollout.watchdog.loop.LOOK_SECONDS_AT_REST": 0.5,
    }
)
# Duties that come soon though they are done every five seconds, or at rest every thirty.
QUICK_DUTIES = shorter(
    {
        "rollout.watchdog.loop.LOOK_SECONDS_AT_REST": 1,
        "rollout.watchdog.duties.CHECKS_EVERY": 1,
        "rollout.watchdog.duties.SAMPLES_EVERY": 1,
        "rollout.watchdog.duties.RETENTION_EVERY": 2,
        "rollout.watchdog.duties.SELDOM_AT_REST": 2,
    }
)
# Rehearsals whose traffic has less time for itself before the phases and between them.
QUICK_REHEARSALS = shorter(
    {
        "rollout.worker.rehearsals.BASELINE_SECONDS": 0.3,
        "rollout.worker.rehearsals.BETWEEN_SECONDS": 0.1,
    }
)
# Pages that ask again every second, and gates that do not keep for longer what they saw.
QUICK_SITE = shorter(
    {
        **json.loads(QUICK_WATCHDOG[VARIABLE]),
        "rollout.console.http.fragments.FAST": 1,
        "rollout.console.http.fragments.SLOW": 1,
        "rollout.console.views.audits.FAST": 1,
        "rollout.console.views.mappings.SLOW": 1,
        "rollout.console.views.phases.FAST": 1,
        "rollout.gates.cached_queries.TTL_SECONDS": 0.5,
    }
)


def apply() -> None:
    """Give this process the intervals that its variable names."""
    for path, seconds in json.loads(os.environ.get(VARIABLE, "{}")).items():
        module, _, name = path.rpartition(".")
        there = import_module(module)
        is_timedelta = isinstance(getattr(there, name), timedelta)
        setattr(there, name, timedelta(seconds=seconds) if is_timedelta else seconds)


def main() -> None:
    import django

    from tests.support.preloaded import run

    django.setup()
    apply()
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
