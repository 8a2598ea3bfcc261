"""Which groups of tests a run's workers take one after the other.

What groups do is mostly wait: for processes that start, pages that ask again, leases that run out.
Were every worker to begin with one of them, cores would idle first and be too few afterwards. So
the groups share lanes, each of which one worker takes as a whole; the last worker, which has none,
begins with all other tests.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

# How long each group takes on two cores, so that lanes become equally long.
SECONDS = {
    "crashes": 205,
    "in_browser": 170,
    "bench": 170,
    "demo": 100,
    "chaos": 95,
    "hosts": 90,
    "processes": 75,
    "faults": 60,
    "rehearsals": 55,
    "rules": 50,
    "wheel": 30,
    "end to end": 25,
    "roles": 10,
    "of its own": 0,
}


def lanes(number: int) -> dict[str, str]:
    """The lane of each group: the longest first, each to what is the shortest lane by then."""
    seconds = {f"lane {lane}": 0 for lane in range(1, number + 1)}
    lane_of = {}
    for group in sorted(SECONDS, key=lambda group: -SECONDS[group]):
        lane = min(seconds, key=lambda lane: seconds[lane])
        lane_of[group] = lane
        seconds[lane] += SECONDS[group]
    return lane_of


class LaneScheduling(LoadGroupScheduling):  # type: ignore[misc]  # of a library without types
    """Gives the groups of a lane to one worker."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._lane_of = lanes(max(1, self.numnodes - 1))

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return self._lane_of.get(scope, scope)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LaneScheduling | None:
    return LaneScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None
