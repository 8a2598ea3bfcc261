"""Sparklines: one line over a short time beside a number, with the baseline as a second line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.console.charts.lines import HEIGHT, line_of
from rollout.console.formats import duration, milliseconds


@dataclass(frozen=True)
class Sparkline:
    """``paths`` and ``baseline``, a height, are in a view box of ``lines.WIDTH`` by ``HEIGHT``."""

    paths: list[str]
    baseline: str
    """Empty if there is no baseline."""
    name: str
    """What the line shows, for those who do not see it."""


def sparkline_of(
    points: Sequence[tuple[datetime, float]],
    since: datetime,
    span: timedelta,
    *,
    baseline: float | None,
    gap: timedelta,
) -> Sparkline | None:
    """The line of latencies in milliseconds; None without a point in that time."""
    if not points:
        return None
    line = line_of(points, since, since + span, at_least=baseline or 0.0, gap=gap)
    values = [value for _, value in points]
    name = (
        f"p95 over the last {duration(span)}: lowest {milliseconds(min(values))}, "
        f"highest {milliseconds(max(values))}, latest {milliseconds(values[-1])}"
    )
    return Sparkline(
        paths=line.paths,
        baseline="" if baseline is None else f"{(1 - baseline / line.top) * HEIGHT:.2f}",
        name=name + ("" if baseline is None else f"; baseline {milliseconds(baseline)}"),
    )
