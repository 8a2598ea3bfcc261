"""Moments within messages, in one format: pages show them in the reader's zone."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rollout import journal

# Clocks of several machines differ, by no more than that.
SKEW = timedelta(minutes=1)
# What ``in_words`` writes; older entries of the log keep moments to the minute.
IN_TEXT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?) UTC")


def in_words(moment: datetime) -> str:
    """A moment to the second, in UTC: ``2026-11-29 10:07:41 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def in_zone(moment: datetime, zone: str) -> str:
    """A moment as the clocks of a zone show it."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


def duration(time: timedelta) -> str:
    """A duration in the largest unit that loses little: ``90 s``, ``45 min``, ``6 h``, ``3 d``."""
    seconds = time.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{int(seconds // size):,} {unit}"
    return f"{int(seconds)} s"


def by_the_database() -> datetime:
    """What the clock of the journal's database shows now: one for all machines."""
    with journal.connection().cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row: tuple[datetime] | None = cursor.fetchone()
    assert row is not None
    return row[0]


def is_to_come(moment: datetime, now: datetime) -> bool:
    """Whether a moment that was written down as past has not come yet.

    A clock was set back since: nobody can tell how long ago it was.
    """
    return moment - now > SKEW


def staleness(moment: datetime, allowed: timedelta, words: str, now: datetime) -> str:
    """Why something of a moment is not fresh any more; empty if it is."""
    if is_to_come(moment, now):
        return "has a date in the future: a clock was set back since"
    if now - moment > allowed:
        return f"is older than the {words} that the plan allows"
    return ""
