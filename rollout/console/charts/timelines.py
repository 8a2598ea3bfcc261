"""The layout of a timeline: bars and marks on one axis, in percent of it.

The law: nothing stands outside the axis, the order of time is kept, a bar is no longer than its
time, nothing overlaps within its row, and what is put together is counted: bars and marks add up
to what they are made of.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from rollout.console.charts.lines import percent
from rollout.console.formats import day_and_time

T = TypeVar("T")
# Maximum marks in a phone's row.
SLOTS = 16
# Room for a bar's sign, so that it can be seen on a phone. What lasted shorter is a sign alone.
SIGN_PERCENT = 5.0


@dataclass(frozen=True)
class Cluster(Generic[T]):
    """What happened within a slot of the axis, the oldest first; ``x`` is the slot's middle."""

    x: str
    items: tuple[T, ...]


@dataclass(frozen=True)
class Bar(Generic[T]):
    """What lasted, from ``x`` on; several where they would overlap, the oldest first.

    ``width`` is empty where it is too short to be a bar. Its sign stands at ``middle``.
    """

    x: str
    width: str
    middle: str
    items: tuple[T, ...]


@dataclass(frozen=True)
class Mark:
    """A bar or a sign in a row: where it stands, how it looks, what it says and where it leads.

    ``width`` is empty for a sign alone. ``text`` is the number of what was put together; empty for
    one alone, which has ``icon`` or is a dot. ``lasts`` is true of what has an end, or runs.
    """

    x: str
    width: str
    middle: str
    lasts: bool
    tone: str
    icon: str
    text: str
    is_backward: bool
    at: datetime
    until: datetime | None
    what: str
    who: str
    url: str

    @property
    def is_bar(self) -> bool:
        return bool(self.width)


def clusters_of(
    items: Iterable[T], at: Callable[[T], datetime], since: datetime, until: datetime
) -> list[Cluster[T]]:
    """Moments, put together where they share a slot; those outside the axis go to its ends."""
    slots: dict[int, list[T]] = {}
    for item in sorted(items, key=at):
        slot = int(_share(at(item), since, until) * SLOTS)
        slots.setdefault(min(slot, SLOTS - 1), []).append(item)
    return [
        Cluster(percent((slot + 0.5) / SLOTS * 100), tuple(of_slot))
        for slot, of_slot in slots.items()
    ]


def bars_of(
    items: Iterable[T],
    span: Callable[[T], tuple[datetime, datetime]],
    since: datetime,
    until: datetime,
) -> list[Bar[T]]:
    """Stretches of time; put together where they or their signs would overlap."""
    bars: list[_Stretch[T]] = []
    for item in sorted(items, key=lambda item: span(item)[0]):
        began, ended = (_share(moment, since, until) * 100 for moment in span(item))
        stretch = _Stretch(began, ended, [item], bars[-1].right if bars else 0.0)
        if bars and stretch.left < bars[-1].right:
            bars[-1].ended = max(bars[-1].ended, ended)
            bars[-1].items.append(item)
        else:
            bars.append(stretch)
    return [
        Bar(
            percent(bar.began),
            "" if bar.is_short else percent(bar.ended - bar.began),
            percent((bar.left + bar.right) / 2),
            tuple(bar.items),
        )
        for bar in bars
    ]


@dataclass
class _Stretch(Generic[T]):
    """Time on the axis, and the room that it needs there: what is short needs that of its sign."""

    began: float
    ended: float
    items: list[T]
    free_from: float
    """The end of the room of the stretch before."""

    @property
    def is_short(self) -> bool:
        return self.ended - self.began < SIGN_PERCENT

    @property
    def left(self) -> float:
        if not self.is_short:
            return self.began
        around = (self.began + self.ended - SIGN_PERCENT) / 2
        return min(max(around, min(self.free_from, self.began)), 100 - SIGN_PERCENT)

    @property
    def right(self) -> float:
        return max(self.ended, self.left + SIGN_PERCENT)


def _share(moment: datetime, since: datetime, until: datetime) -> float:
    """Where a moment stands on the axis, from 0 to 1."""
    return min(max((moment - since) / (until - since), 0.0), 1.0)


def in_words(names: Sequence[str]) -> str:
    """``Approved``, or before each of several names how often it comes, if more than once."""
    counts = Counter(names)
    return ", ".join(f"{n:,} × {name}" if n > 1 else name for name, n in counts.items())


def timeline_mark(mark: Mark) -> SafeString:
    """A bar or a sign, which leads to its page; for the eyes and the pointer alone."""
    shape: str = ""
    if mark.is_bar:
        rect = '<rect {} x="{}" y="2" width="{}" height="18" rx="3"/>'
        attributes = ['class="bar"', *(['fill="url(#backward)"'] if mark.is_backward else [])]
        shape = format_html_join(
            "",
            rect,
            ((mark_safe(attribute), mark.x, mark.width) for attribute in attributes),  # noqa: S308
        )
    circle = "" if mark.is_bar else '<circle class="many" r="9"/>'
    if mark.text:
        inner = format_html(circle + '<text y="4" text-anchor="middle">{}</text>', mark.text)
    elif mark.icon:
        circle = circle if mark.lasts else ""
        inner = format_html(
            circle + '<use href="#icon-{}" x="-7" y="-7" width="14" height="14"/>', mark.icon
        )
    else:
        inner = mark_safe('<circle r="5"/>')
    return format_html(
        '<a href="{}" tabindex="-1" class="tone-{}"><title>{}, {}, {}</title>{}'
        '<svg class="sign" x="{}" y="11" width="1" height="1" overflow="visible">'
        '<rect class="reach" x="-9" y="-11" width="18" height="22"/>{}</svg></a>',
        *(mark.url, mark.tone, mark.what, mark.who, day_and_time(mark.at), shape),
        *(mark.middle, inner),
    )
