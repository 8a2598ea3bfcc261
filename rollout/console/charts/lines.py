"""Lines over time, and what happened meanwhile, as an SVG without fixed size takes them.

Lines are polylines in a view box of ``WIDTH`` by ``HEIGHT`` that is stretched over the plot; what
is to keep its shape, as bands and signs do, stands in percent.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from rollout.console.formats import figure

WIDTH, HEIGHT = 1000, 100
# Minimum width of a band, in percent, so that it can be seen.
MIN_BAND_PERCENT = 0.3
# A limit that is further above all values stands in words: drawn, it would flatten the lines.
MAX_LIMIT_TIMES = 4.0
# Labels that are closer in height, in percent, stand in one.
MIN_LABEL_PERCENT = 12.0
# How a value is written after its number; a unit that is not named has nothing to add to it.
SUFFIXES = {"ms": " ms", "per second": "/s", "% of calls": "%"}


@dataclass(frozen=True)
class Band:
    """A stretch of time in a plot, in percent."""

    x: str
    width: str


@dataclass(frozen=True)
class Line:
    """Values over time; ``top`` is the plot's top. ``paths`` break where nothing was measured."""

    points: list[tuple[datetime, float]]
    paths: list[str]
    top: float

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def highest(self) -> float:
        return max(value for _, value in self.points)


@dataclass(frozen=True)
class Level:
    """A baseline or limit that values are compared with."""

    label: str
    value: float
    is_baseline: bool = False


@dataclass(frozen=True)
class DrawnLevel:
    """A level across a plot; ``y`` is percent. Its label is empty where another has it as well."""

    label: str
    y: str
    kind: str
    label_dy: int = -4
    """Pixels from the line to its label's foot: above it, or below where the legend is near."""


@dataclass(frozen=True)
class Column:
    """A moment of a plot: where a pointer finds it, in percent, and its values in order of the
    lines."""

    at: datetime
    x: float
    width: float
    values: list[float | None]


@dataclass(frozen=True)
class Plot:
    """Lines over time on one scale, in the unit of the heading."""

    heading: str
    unit: str
    lines: list[tuple[str, Line]]
    top: float
    start: datetime
    end: datetime
    levels: list[DrawnLevel] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    """Levels above the plot, in words."""
    zero: list[str] = field(default_factory=list)
    """Series that are zero throughout, which are not drawn."""

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def level_keys(self) -> list[tuple[str, str]]:
        """The legend of its levels, with their kinds: a baseline has no label in the plot."""
        kinds = dict.fromkeys(level.kind for level in self.levels)
        return [
            (kind, "limit" if kind == "limit" else f"baseline {level.label}")
            for kind in kinds
            for level in [next(level for level in self.levels if level.kind == kind)]
        ]

    @property
    def suffix(self) -> str:
        """The unit after a number."""
        return SUFFIXES.get(self.unit, f" {self.unit}" if "/" in self.unit else "")

    @property
    def columns(self) -> list[Column]:
        """The plot by time, each moment as wide as the way to its neighbours."""
        length = (self.end - self.start).total_seconds()
        rows = numbers_of([self])
        apart = [(later - at).total_seconds() for (at, _), (later, _) in pairwise(rows)]
        width = min(apart, default=length) / length * 100
        return [
            Column(at, (at - self.start).total_seconds() / length * 100, width, values)
            for at, values in rows
        ]

    @property
    def in_words(self) -> str:
        """Minimum, maximum and last value per line, and the levels, for screen readers."""
        parts = [f"{self.heading}, {self.unit}"]
        for name, line in self.lines:
            values = [value for _, value in line.points]
            least, most, last = (figure(v) for v in (min(values), max(values), values[-1]))
            parts.append(f"{name} {least} to {most}, latest {last}")
        parts += [f"{level.kind} {level.label}" for level in self.levels if level.label]
        return "; ".join(parts)


Values = Sequence[tuple[datetime, float | None]]


def plot_of(
    heading: str,
    unit: str,
    lines: Sequence[tuple[str, Values]],
    since: datetime,
    until: datetime,
    *,
    levels: Sequence[Level] = (),
    at_least: float = 0.0,
    gap: timedelta | None = None,
    zero: str = "{}",
) -> Plot:
    """Lines on one scale, whose top is a plain number above every value and ``at_least``.

    A line that is zero throughout is only named, as ``zero`` has it; without values it is left out.
    """
    known = [
        (name, [(at, value) for at, value in line if value is not None]) for name, line in lines
    ]
    moving = [(name, line) for name, line in known if any(value for _, value in line)]
    highest = max((value for _, line in moving for _, value in line), default=0.0)
    within = [level for level in levels if level.value <= MAX_LIMIT_TIMES * highest]
    top = max([highest, at_least, *(level.value for level in within)])
    drawn = [(name, line_of(line, since, until, at_least=top, gap=gap)) for name, line in moving]
    top = round_above(top or 1.0)
    plot = Plot(
        heading,
        unit,
        drawn,
        top,
        since,
        until,
        zero=[zero.format(name) for name, line in known if line and (name, line) not in moving],
    )
    plot.levels.extend(_drawn(within, top, plot.suffix))
    plot.beyond.extend(
        f"{level.label} {figure(level.value)}{plot.suffix}"
        for level in levels
        if level not in within
    )
    return plot


def _drawn(levels: Iterable[Level], top: float, suffix: str) -> list[DrawnLevel]:
    """Levels from the top down; limits that lie close together have one label."""
    drawn: list[DrawnLevel] = []
    labelled, at = -math.inf, 0
    for level in sorted(levels, key=lambda level: -level.value):
        y = (1 - level.value / top) * 100
        label = f"{level.label} {figure(level.value)}{suffix}".strip()
        kind = "baseline" if level.is_baseline else "limit"
        if not level.is_baseline and y - labelled < MIN_LABEL_PERCENT:
            drawn[at] = replace(drawn[at], label=f"{drawn[at].label}, {label}")
            label = ""
        elif not level.is_baseline:
            labelled, at = y, len(drawn)
        drawn.append(DrawnLevel(label, percent(y), kind, 12 if y < MIN_LABEL_PERCENT else -4))
    return drawn


def moving_of(plots: Iterable[Plot]) -> tuple[list[Plot], list[str]]:
    """The plots that have a line, and the names of the series that are zero throughout."""
    every = list(plots)
    return [plot for plot in every if plot.lines], [name for plot in every for name in plot.zero]


def line_of(
    points: Sequence[tuple[datetime, float]],
    start: datetime,
    end: datetime,
    *,
    at_least: float = 0.0,
    gap: timedelta | None = None,
) -> Line:
    """A line over the time of a plot, whose top is a plain number above every point.

    It breaks where two points are further apart than ``gap``.
    """
    top = round_above(max([at_least, *(value for _, value in points)]) or 1.0)
    length = (end - start).total_seconds()
    paths: list[list[str]] = []
    before: datetime | None = None
    for at, value in points:
        if before is None or (gap is not None and at - before > gap):
            paths.append([])
        before = at
        x = min(max((at - start).total_seconds() / length, 0), 1) * WIDTH
        y = (1 - min(max(value / top, 0), 1)) * HEIGHT
        paths[-1].append(f"{x:.1f},{y:.2f}")
    # A single point becomes a line of no length, which a round cap shows as a dot.
    texts = [" ".join(path if len(path) > 1 else path * 2) for path in paths]
    return Line(list(points), texts, top)


def numbers_of(plots: Sequence[Plot]) -> list[tuple[datetime, list[float | None]]]:
    """The numbers behind the lines of several plots, by time."""
    values = [dict(line.points) for plot in plots for _, line in plot.lines]
    times = sorted({at for of_line in values for at in of_line})
    return [(at, [of_line.get(at) for of_line in values]) for at in times]


def band_of(first: datetime, last: datetime, start: datetime, end: datetime) -> Band:
    """A stretch of time in a plot; at least so wide that it can be seen."""
    length = (end - start).total_seconds()
    left = max((first - start).total_seconds(), 0.0) / length * 100
    right = min((last - start).total_seconds() / length * 100, 100.0)
    return Band(
        percent(min(left, 100 - MIN_BAND_PERCENT)), percent(max(right - left, MIN_BAND_PERCENT))
    )


def round_above(value: float) -> float:
    """The next 1, 2, 4, 6 or 8 times a power of ten: half of it is a plain number too."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((step * power for step in (1, 2, 4, 6, 8) if step * power >= value), power * 10)


def percent(value: float) -> str:
    """As attributes of SVG take it; never outside of the plot."""
    return f"{min(max(value, 0), 100):.3f}%"
