"""Numbers, shares, durations and times as people read them: the one place that decides how.

Times are in the current time zone, which is that of the reader's browser where it is known, and say
which one that is; what stands above the text of a time (its title) is in UTC.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from rollout.engine.plain_words import in_plain_words
from rollout.journal.moments import IN_TEXT, in_words
from rollout.models import PhaseRun, StepRun
from rollout.queries.progress import TimeLeft

MINUTE, HOUR, DAY = 60, 3600, 86400
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
# As audits, repairs and the proof of a rollback write it, before PostgreSQL's reason.
_NO_VALUE = "no value: "


def unbroken(write: Callable[[Any], str]) -> Callable[[Any], str]:
    """For templates: a number and its unit stay together in a line."""

    @wraps(write)
    def text(value: Any) -> str:
        return write(value).replace(" ", NO_BREAK_SPACE)

    return text


def number(value: float | None) -> str:
    """``1234567`` as ``1,234,567``; a fraction is rounded to a whole number."""
    return "–" if value is None else f"{round(value):,}"


def why_no_value(text: str | None) -> str | None:
    """A text of the data as it is; the reason in it why a row can have no value in plain words."""
    before, mark, reason = (text or "").partition(_NO_VALUE)
    return f"{before}{mark}{in_plain_words(reason)}" if mark else text


def roughly(value: float | None) -> str:
    """An estimate in three digits: ``300,106`` as ``300,000``."""
    if not value:
        return number(value)
    return number(round(value, 2 - math.floor(math.log10(abs(value)))))


def percent(fraction: float) -> str:
    """``0.4321`` as ``43.2%``. Only all is ``100%``, and only nothing is ``0%``."""
    if fraction <= 0:
        return "0%"
    if fraction >= 1:
        return "100%"
    return f"{min(max(fraction, 0.001), 0.999):.1%}"


def plain(fraction: float) -> str:
    """A fraction as attributes of HTML want it, whatever the language of the page."""
    return f"{fraction:.4f}"


def figure(value: float | None) -> str:
    """Three digits at most: ``0.25``, ``6``, ``1,234``; what is hardly anything is ``~0``."""
    if value is None:
        return "–"
    if 0 < value < 0.001:
        return "~0"
    places = 0 if value >= 99.5 else 1 if value >= 9.95 else 2 if value >= 0.0995 else 3
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if places else text


def signed(value: int) -> str:
    """A change in numbers of rows: its sign and thousands, or a dash for none."""
    if not value:
        return "–"
    return f"{'+' if value > 0 else chr(0x2212)}{abs(value):,}"


def milliseconds(value: float | None) -> str:
    """Three digits and the unit: ``6.41 ms``."""
    return "–" if value is None else f"{figure(value)} ms"


def signed_duration(seconds: float) -> str:
    """A duration with its sign, as a difference is written."""
    sign = "\N{MINUS SIGN}" if seconds < 0 else "+"
    return f"{sign}{duration(abs(seconds))}"


def signed_milliseconds(value: float | None) -> str:
    """A difference: its sign, three digits and the unit, as in ``+6.41 ms``; or that it is none."""
    if value is None:
        return "–"
    # The p95 of a histogram is one of some values: the same one again is no difference.
    if abs(value) < 0.001:
        return "no change"
    sign = "\N{MINUS SIGN}" if value < 0 else "+"
    return f"{sign}{figure(abs(value))} ms"


def duration(value: timedelta | float | None) -> str:
    """Two units at most: ``84 ms``, ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{max(round(seconds * 1000), 0)} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def duration_range(left: TimeLeft | None) -> str:
    """A range as honest as it is: ``about 31 s``, ``about 4-6 min``, ``at least 40 s``."""
    if left is None:
        return "–"
    if left.longest is None:
        return f"at least {_rough(left.shortest, left.shortest)}"
    return f"about {_rough(left.shortest, left.longest)}"


def _rough(low: float, high: float) -> str:
    """Both ends in the unit of the longer one, down and up to what can be known."""
    if high < 90:
        step, unit = (1.0 if high < 20 else 5.0), "s"
    elif high < 90 * MINUTE:
        step, unit = MINUTE, "min"
    else:
        step, unit = HOUR / 2, "h"
    scale = {"s": 1, "min": MINUTE, "h": HOUR}[unit]
    nearest = max(round((low + high) / 2 / step) * step, step)
    if high - low <= max(step, 0.1 * high):
        return f"{nearest / scale:g} {unit}"
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    if first == 0 and unit != "s":
        return f"{_rough(low, low)}–{last / scale:g} {unit}"
    return f"{max(first / scale, 1):g}–{last / scale:g} {unit}"


def byte_size(value: float | None) -> str:
    """Three digits and a decimal unit, as disks are sold: ``560 MB``, ``1.3 GB``."""
    if value is None:
        return "–"
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size * 0.9995:
            scaled = value / size
            return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:,.0f} {unit}"
    return f"{value:.0f} bytes"


def byte_change(value: float | None) -> str:
    """A change in bytes with its sign: ``+1.3 GB``, ``0``."""
    if not value:
        return "–" if value is None else "0"
    sign = "+" if value > 0 else "\N{MINUS SIGN}"
    return f"{sign}{byte_size(abs(value))}"


def ago(moment: datetime, *, now: datetime | None = None) -> str:
    """The one largest unit: ``just now``, ``42 s ago``, ``3 min ago``, ``5 d ago``."""
    seconds = ((now or timezone.now()) - moment).total_seconds()
    if seconds < 5:
        return "just now"
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def ago_text(moment: datetime, *, now: datetime | None = None) -> SafeString:
    """How long ago, in an element that the browser keeps up to date."""
    text = ago(moment, now=now)
    return format_html('<span data-ago="{}">{}</span>', _iso(moment), text)


def zone(moment: datetime | None = None) -> str:
    """The short name of the current time zone: ``UTC``, ``CET``, ``UTC-03``."""
    name = f"{timezone.localtime(moment):%Z}"
    return f"UTC{name}" if name[:1] in "+-" else name


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def clock(
    moment: datetime | None, *, now: datetime | None = None, seconds: bool = True
) -> SafeString | str:
    """A time element: ``14:03:22 CET`` on the same day, with the date before it on another.

    Without ``seconds`` what is known to the minute alone is shown so.
    """
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    today = timezone.localdate(now)
    day = "" if local.date() == today else f"{local.day} {local:%b %Y}, "
    return format_html(
        '<time datetime="{}" title="{}">{}{} {}</time>',
        _iso(moment) if seconds else moment.isoformat(timespec="minutes"),
        in_words(moment) if seconds else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        day,
        f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}",
        zone(moment),
    )


def local_times(text: object) -> SafeString:
    """A sentence with its moments, which it names in UTC, in the reader's zone.

    They are as exact as the sentence has them.
    """
    if text is None:
        return SafeString("")
    # What is HTML already stays so; a piece of a safe text is an ordinary one.
    escape = SafeString if hasattr(text, "__html__") else str
    parts = IN_TEXT.split(str(text))
    return format_html_join("", "{}", ((_part(part, at, escape),) for at, part in enumerate(parts)))


def _part(part: str, at: int, escape: type[str]) -> str:
    if not at % 2:
        return escape(part)
    moment = datetime.fromisoformat(part).replace(tzinfo=UTC)
    return clock(moment, seconds=part.count(":") == 2)


def in_zone(moment: datetime, zone: str) -> SafeString:
    """A moment to come as the clocks of a zone show it: ``Sat 28 Nov 2026, 22:00 CET``."""
    local = moment.astimezone(ZoneInfo(zone))
    return format_html(
        '<time datetime="{}" title="{}">{} {}, {} {}</time>',
        moment.isoformat(timespec="seconds"),
        in_words(moment),
        f"{local:%a} {local.day}",
        f"{local:%b %Y}",
        f"{local:%H:%M}",
        f"{local:%Z}",
    )


def ahead(moment: datetime, *, now: datetime | None = None) -> str:
    """How long until then: ``in 3 h``, ``in 12 min``, ``now``."""
    seconds = (moment - (now or timezone.now())).total_seconds()
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"in {int(seconds // size)} {unit}"
    return f"in {int(seconds)} s" if seconds >= 1 else "now"


def time_of_day(moment: datetime) -> str:
    """``14:03:22``, for places that say the zone themselves."""
    return f"{timezone.localtime(moment):%H:%M:%S}"


def day_and_time(moment: datetime, *, now: datetime | None = None) -> str:
    """``14:03:22`` today, ``3 Nov 14:03`` on another day; the zone stands elsewhere."""
    return times_of_day(now=now)(moment)


def times_of_day(*, now: datetime | None = None) -> Callable[[datetime], str]:
    """``day_and_time`` for many moments: the zone and the day are looked up once."""
    here, today = timezone.get_current_timezone(), timezone.localdate(now)

    def text(moment: datetime) -> str:
        local = moment.astimezone(here)
        if local.date() == today:
            return f"{local:%H:%M:%S}"
        return f"{local.day} {local:%b %H:%M}"

    return text


def moment(text: str) -> datetime | None:
    """A moment that the journal keeps as an ISO text within JSON."""
    return datetime.fromisoformat(text) if text else None


# How the reason of work that a signal slows down begins.
_THROTTLED = "throttled "


def slows_down(reason: str) -> bool:
    """Whether work waits for a health signal: throttled by it, or paused until it is OK again."""
    return reason.startswith(_THROTTLED) or is_paused_by_signal(reason)


def waiting(reason: str) -> str:
    """What work waits for, as a sentence: an event, a health signal, or a throttle."""
    text = reason.removesuffix(".")
    if text.startswith(_THROTTLED):
        return f"T{text[1:]}."
    return f"Paused: {text}." if is_paused_by_signal(reason) else f"Waiting for {text}."


def is_paused_by_signal(reason: str | None) -> bool:
    """Whether a health signal holds work until it is OK again: its sentence is the reason."""
    return bool(reason) and str(reason)[:1].isupper()


def when(moment: datetime | None, *, now: datetime | None = None) -> SafeString | str:
    """The time and how long ago that was: ``14:03:22 UTC, 3 min ago``."""
    if moment is None:
        return "–"
    return format_html("{}, {}", clock(moment, now=now), ago_text(moment, now=now))


class Timed(Protocol):
    """What began at some time, and may have ended at another."""

    started_at: datetime | None
    finished_at: datetime | None


def took(timed: Timed) -> str:
    """The time from start to end; of a phase's run and its steps without the pauses."""
    if timed.started_at is None or timed.finished_at is None:
        return "–"
    run = timed.run if isinstance(timed, StepRun) else timed
    if isinstance(run, PhaseRun):
        return duration(run.time_at_work(timed.started_at, timed.finished_at))
    return duration(timed.finished_at - timed.started_at)


def total(counts: Mapping[str, int]) -> int:
    """What the counts of several things add up to."""
    return sum(counts.values())


def json_text(data: object) -> str:
    """JSON on several lines, for people."""
    return json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True)
