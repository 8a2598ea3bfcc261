"""Compares the database's clock with one that nobody sets, and says when it has jumped."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout import journal
from rollout.journal import activity_log, watched_times
from rollout.journal.events import Event
from rollout.journal.moments import SKEW, by_the_database, in_words
from rollout.watchdog import scheduled_starts

# Clocks that are kept right are slowed down or sped up by less between two looks.
TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True)
class Reading:
    """What the database's clock showed between two moments of the clock that nobody sets."""

    after: float
    at: datetime
    before: float

    def jump_to(self, later: "Reading") -> timedelta:
        """How much farther the database's clock came than time can have passed; back: below 0."""
        shown = later.at - self.at
        shortest = timedelta(seconds=later.after - self.before)
        longest = timedelta(seconds=later.before - self.after)
        if shown > longest + TOLERANCE:
            return shown - longest
        if shown < shortest - TOLERANCE:
            return shown - shortest
        return timedelta(0)


class ClockWatch:
    """Remembers what the clocks showed at the last look."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        database_clock: Callable[[], datetime] = by_the_database,
    ) -> None:
        self._clock, self._database_clock = clock, database_clock
        self._last: Reading | None = None

    def look(self) -> None:
        """Note that time has passed; where the clock jumped, say so and call off what waits."""
        reading = Reading(self._clock(), self._database_clock(), self._clock())
        last = self._last
        jumped = timedelta(0) if last is None else last.jump_to(reading)
        with journal.atomic():
            watched_times.add(
                reading.at, seen_from=None if last is None else last.at, jumped=jumped
            )
            if abs(jumped) > SKEW:
                _say(reading.at, jumped)
        self._last = reading


def _say(at: datetime, jumped: timedelta) -> None:
    turn = "ahead" if jumped > timedelta(0) else "back"
    seconds = abs(jumped).total_seconds()
    what = f"The database's clock jumped {seconds:,.0f} s {turn}, to {in_words(at)}"
    activity_log.record(
        Event.CLOCK_JUMPED,
        f"{what}, or the watchdog's machine was suspended. No soak counts that time, scheduled "
        "starts are cancelled, and nothing is deleted for a day. Check the machines' clocks, then "
        "schedule the starts again.",
        actor=activity_log.ENGINE,
        source="watchdog",
        seconds=round(jumped.total_seconds()),
        at=at.isoformat(),
    )
    scheduled_starts.call_off(
        f"{what}: whether its time has come is unknown. Check the machines' clocks, then schedule "
        "it again."
    )
