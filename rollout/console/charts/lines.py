"""Lines over time, and what happened meanwhile, as an SVG without fixed size takes them.

Lines are polylines in a view box of ``WIDTH`` by ``HEIGHT`` that is stretched over the plot; what
is to keep its shape, as bands and signs do, stands in percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 1000, 100
# Minimum width of a band, in percent, so that it can be seen.
MIN_BAND_PERCENT = 0.3


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
class Plot:
    """Lines over time on one scale, in the unit of the heading."""

    heading: str
    unit: str
    lines: list[tuple[str, Line]]
    top: float

    @property
    def start(self) -> datetime:
        return min(at for _, line in self.lines for at, _ in line.points)

    @property
    def end(self) -> datetime:
        return max(at for _, line in self.lines for at, _ in line.points)

    @property
    def middle(self) -> datetime:
        return self.start + (self.end - self.start) / 2

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def alone(self) -> list["Plot"]:
        return [self]

    @property
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """The numbers behind the lines, by time."""
        return numbers_of([self])

    @property
    def newest(self) -> list[tuple[str, float]]:
        """Each line's last value, for those who do not see the plot."""
        return [(name, line.points[-1][1]) for name, line in self.lines if line.points]


Values = Sequence[tuple[datetime, float | None]]


def plot_of(
    heading: str,
    unit: str,
    lines: Sequence[tuple[str, Values]],
    since: datetime,
    until: datetime,
    *,
    at_least: float = 0.0,
    gap: timedelta | None = None,
) -> Plot:
    """Lines on one scale, whose top is a plain number above every value and ``at_least``."""
    known = [
        (name, [(at, value) for at, value in line if value is not None]) for name, line in lines
    ]
    highest = max((value for _, line in known for _, value in line), default=0.0)
    drawn = [
        (name, line_of(line, since, until, at_least=max(highest, at_least), gap=gap))
        for name, line in known
    ]
    return Plot(heading, unit, drawn, drawn[0][1].top)


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
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next((step * power for step in (1, 2, 4, 6, 8) if step * power >= value), power * 10)


def percent(value: float) -> str:
    """As attributes of SVG take it; never outside of the plot."""
    return f"{min(max(value, 0), 100):.3f}%"
