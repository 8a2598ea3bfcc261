"""The demo's switch that makes the application slow for a while: a file that its traffic reads."""

import time

from django.conf import settings

from config.home import read_or_none

SECONDS = 20


def begin() -> None:
    """From now on, for so long."""
    settings.HOME.slow_until.write_text(f"{time.time() + SECONDS}\n")


def seconds_left() -> int:
    """How much longer; 0 where it is as fast as ever."""
    until = float(read_or_none(settings.HOME.slow_until) or 0)
    return max(0, round(until - time.time()))
