"""What a person has to decide: on which page, since when, and how grave it is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from rollout.models import Direction, PhaseRun, Rollout

May = Callable[[str, Rollout], bool]


class Gravity(IntEnum):
    """What comes first in the inbox, however long other things have waited."""

    HARM = 0
    """Wrong rows, and phases that failed."""
    STANDSTILL = 1
    DECISION = 2


@dataclass(frozen=True)
class Waiting:
    """Something that a person has to decide: since when, and on which page."""

    rollout: Rollout
    what: str
    asked_by: str
    since: datetime
    url: str
    """Address of the page that has the button."""
    comment: str = ""
    addressees: tuple[str, ...] = ()
    """Users whom a request names; empty for all who may decide."""
    reminded_at: datetime | None = None
    gravity: Gravity = Gravity.DECISION


def newest_of_phases(runs: list[PhaseRun]) -> dict[tuple[int, int], PhaseRun]:
    """The newest run of each phase of each rollout; a repair changes no phase's state."""
    return {(run.rollout_id, run.phase): run for run in runs if run.direction != Direction.REPAIR}
