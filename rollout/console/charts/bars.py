"""The chart of a job's speed over time: where its bars stand, in percent of the plot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollout.console.charts.lines import Band, Line, line_of, percent, round_above
from rollout.engine.throughputs import Throughput
from rollout.telemetry.operation_stats import Point

# Minimum length of a plot, so that a single throughput is a bar and not a wall.
MIN_PLOT_SECONDS = 10
# Shorter losses, and shorter stretches, are clock noise.
MIN_LOSS_SECONDS = 0.05
# A longer time without work is a pause, and a gap in the plot.
MAX_REST_SECONDS = 10
# Minimum share of a throughput; shorter stretches say nothing about the speed.
_MIN_SHARE = 0.5


@dataclass(frozen=True)
class Span:
    """What a job did in a stretch of time; the times are those of all its workers together."""

    start: datetime
    seconds: float
    rows: float
    updated: float
    working_seconds: float
    lost_seconds: float

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def updated_per_second(self) -> float:
        return self.updated / self.seconds

    @property
    def slowed_down(self) -> bool:
        return self.lost_seconds >= MIN_LOSS_SECONDS


@dataclass(frozen=True)
class Bar:
    """A span in the plot. All numbers are percent, as attributes of SVG take them."""

    span: Span
    x: str
    width: str
    y: str
    height: str


@dataclass(frozen=True)
class Chart:
    """The plot from ``start`` to ``end``; its top is ``top`` rows a second."""

    spans: list[Span]
    bars: list[Bar]
    bands: list[Band]
    start: datetime
    end: datetime
    top: float
    application: Line | None = None
    measured: Sequence[Point] = ()
    """What the application's line is drawn from."""

    @property
    def middle(self) -> datetime:
        return self.start + (self.end - self.start) / 2

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def highest(self) -> float:
        return max(span.rows_per_second for span in self.spans)


def chart_of(
    throughputs: Sequence[Throughput],
    *,
    began: datetime,
    ended: datetime | None,
    now: datetime,
    at_work: bool = False,
    is_slow: bool = False,
) -> Chart | None:
    """The chart of a job; None without a whole throughput.

    Of a job ``at_work`` it reaches to now, and the time since the last one is marked while it
    ``is_slow``: at a low pace a worker writes none for seconds. There is none of a job that ended
    within a second: its throughputs cannot tell its speed.
    """
    if ended is not None and (ended - began).total_seconds() < 1:
        return None
    spans = spans_of(throughputs, began=began, ended=ended, now=now)
    if not spans:
        return None
    start = spans[0].start
    end = max(spans[-1].end, now) if at_work else spans[-1].end
    length = max((end - start).total_seconds(), MIN_PLOT_SECONDS)
    top = round_above(max(span.rows_per_second for span in spans))

    def at(moment: datetime) -> float:
        return (moment - start).total_seconds() / length * 100

    bars = [
        Bar(
            span,
            x=percent(at(span.start)),
            width=percent(span.seconds / length * 100),
            y=percent(100 - span.rows_per_second / top * 100),
            height=percent(span.rows_per_second / top * 100),
        )
        for span in spans
    ]
    slow = _slow(spans)
    if is_slow and end > spans[-1].end:
        since = slow.pop()[0] if slow and slow[-1][1] == spans[-1].end else spans[-1].end
        slow.append((since, end))
    bands = [Band(percent(at(first)), percent(at(last) - at(first))) for first, last in slow]
    return Chart(spans, bars, bands, start, start + timedelta(seconds=length), top)


def with_application(chart: Chart | None, points: Sequence[Point]) -> Chart | None:
    """The chart with the application's p95 as a line on a scale of its own."""
    if chart is None:
        return None
    measured = [p for p in points if p.end > chart.start and p.at < chart.end and p.stats.calls]
    if not measured:
        return chart
    # Level for as long as it was measured: at its beginning alone it would stand too early.
    ends = [(at, p.stats.p95 or 0.0) for p in measured for at in (p.at, p.end)]
    return replace(chart, application=line_of(ends, chart.start, chart.end), measured=measured)


def spans_of(
    throughputs: Sequence[Throughput], *, began: datetime, ended: datetime | None, now: datetime
) -> list[Span]:
    """Throughputs as spans of time; the first and last bucket are cut to what the job had of them.

    The bucket that is still being filled is left out.
    """
    until = ended or now
    spans = [_cut(throughput, began, until) for throughput in throughputs]
    if (
        ended is None
        and spans
        and throughputs[-1].at + timedelta(seconds=throughputs[-1].seconds) > now
    ):
        spans.pop()
    shortest = throughputs[0].seconds * _MIN_SHARE if throughputs else 0.0
    # A stretch too short to tell a speed counts with its neighbour.
    if len(spans) > 1 and spans[0].seconds < shortest and spans[0].end == spans[1].start:
        spans[:2] = [_joined(spans[0], spans[1])]
    if len(spans) > 1 and spans[-1].seconds < shortest and spans[-2].end == spans[-1].start:
        spans[-2:] = [_joined(spans[-2], spans[-1])]
    return _with_rests(spans)


def _with_rests(spans: list[Span]) -> list[Span]:
    """Each with the rest after it: under a limit a worker rests between two batches.

    A worker that rests or is held writes none meanwhile. What it lost stands in the next one,
    and is of the time before that. After a pause the time that was lost is a span without rows.
    """
    rested = spans[:1]
    for span in spans[1:]:
        before = rested[-1]
        apart = (span.start - before.end).total_seconds()
        earlier = min(max(span.lost_seconds - span.seconds, 0.0), max(apart, 0.0))
        if earlier:
            span = replace(span, lost_seconds=span.lost_seconds - earlier)
        if 0 < apart <= MAX_REST_SECONDS:
            rested[-1] = replace(
                before,
                seconds=before.seconds + apart,
                lost_seconds=before.lost_seconds + earlier,
            )
        elif earlier >= MIN_LOSS_SECONDS:
            since = span.start - timedelta(seconds=earlier)
            rested.append(Span(since, earlier, 0, 0, 0.0, earlier))
        rested.append(span)
    return rested


def _cut(throughput: Throughput, began: datetime, until: datetime) -> Span:
    start = max(throughput.at, began)
    end = min(throughput.at + timedelta(seconds=throughput.seconds), until)
    seconds = (end - start).total_seconds()
    if seconds < MIN_LOSS_SECONDS:
        # The clocks of web server and database disagree.
        start, seconds = throughput.at, throughput.seconds
    return Span(
        start,
        seconds,
        throughput.scanned,
        throughput.updated,
        throughput.working_seconds,
        throughput.lost_seconds,
    )


def _joined(first: Span, second: Span) -> Span:
    return Span(
        first.start,
        first.seconds + second.seconds,
        first.rows + second.rows,
        first.updated + second.updated,
        first.working_seconds + second.working_seconds,
        first.lost_seconds + second.lost_seconds,
    )


def _slow(spans: Sequence[Span]) -> list[tuple[datetime, datetime]]:
    """The stretches that were slowed down."""
    stretches: list[tuple[datetime, datetime]] = []
    for span in spans:
        if not span.slowed_down:
            continue
        if stretches and stretches[-1][1] >= span.start:
            stretches[-1] = (stretches[-1][0], span.end)
        else:
            stretches.append((span.start, span.end))
    return stretches
