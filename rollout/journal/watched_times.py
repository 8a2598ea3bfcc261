"""Time that watchdogs saw pass by a clock that nobody sets: what a clock jumped over is none."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import DateTimeField, ExpressionWrapper, Subquery

from rollout import journal
from rollout.journal.heartbeats import SILENCE
from rollout.journal.moments import SKEW
from rollout.models import WatchedTime

# The newest times that are looked at: each restart of all watchdogs begins another. With more of
# them a soak lasts longer.
NEWEST = 100
# After a jump nobody knows which time is right; a day is enough for people to see to it.
SETTLES_AFTER = timedelta(days=1)


def newest_moment() -> datetime | None:
    """Until when, by the database's clock, time was seen to pass; None where it never was."""
    return WatchedTime.objects.values_list("ended_at", flat=True).first()


def add(until: datetime, *, seen_from: datetime | None, jumped: timedelta = timedelta(0)) -> None:
    """Note that a watchdog saw time pass, from ``seen_from`` where it looked before, until now."""
    with journal.atomic():
        last = WatchedTime.objects.select_for_update().first()
        if last is not None and not jumped and _goes_on(last, until, seen_from):
            WatchedTime.objects.filter(pk=last.pk).update(ended_at=until)
            return
        # By a clock that was set back the times to come were never there.
        WatchedTime.objects.filter(began_at__gt=until).delete()
        WatchedTime.objects.filter(ended_at__gt=until).update(ended_at=until)
        gone = timedelta(0) if last is None else until - last.ended_at
        if not jumped and gone > SETTLES_AFTER:
            # Nobody can tell a long time without a watchdog from a jump.
            jumped = gone
        seconds = jumped.total_seconds() if abs(jumped) > SKEW else 0.0
        WatchedTime.objects.create(began_at=until, ended_at=until, jumped=seconds)


def _goes_on(last: WatchedTime, until: datetime, seen_from: datetime | None) -> bool:
    """Whether no time is missing since the last one ended but what another watchdog took over."""
    if until < last.ended_at:
        return False
    return until - last.ended_at < SILENCE or (seen_from is not None and seen_from <= last.ended_at)


def total_since(moment: datetime, times: Iterable[WatchedTime]) -> timedelta:
    """How much of these times came after a moment."""
    parts = (time.ended_at - max(time.began_at, moment) for time in times)
    return sum((part for part in parts if part > timedelta(0)), timedelta(0))


def unsettled_jump() -> WatchedTime | None:
    """What began with a jump since which the clock has not run evenly for a day; the newest.

    Nobody can tell how old anything is then, and nothing is deleted.
    """
    now = WatchedTime.objects.values("ended_at")[:1]
    settled = ExpressionWrapper(Subquery(now) - SETTLES_AFTER, output_field=DateTimeField())
    return WatchedTime.objects.filter(began_at__gt=settled).exclude(jumped=0).first()
