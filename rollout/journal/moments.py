"""Moments within sentences, written in one way: pages show them in the reader's zone."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

# What ``in_words`` writes; older entries of the log keep moments to the minute.
IN_TEXT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?) UTC")


def in_words(moment: datetime) -> str:
    """A moment to the second, in UTC: ``2026-11-29 10:07:41 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def in_zone(moment: datetime, zone: str) -> str:
    """A moment as the clocks of a zone show it."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"
