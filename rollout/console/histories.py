"""The timeline of a rollout's page: runs, people, guardrails, checks and the p95 on one axis."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from django.urls import reverse
from django.utils import timezone

from rollout.console.badges import BADGES
from rollout.console.charts.lines import Plot, plot_of
from rollout.console.charts.point_caches import points_and_lately
from rollout.console.charts.timelines import Bar, Cluster, Mark, bars_of, clusters_of, in_words
from rollout.console.http.links import rollout_url
from rollout.journal.environments import is_protected
from rollout.logs.texts import listed
from rollout.models import Direction, PhaseRun, Rollout
from rollout.queries.timelines import LANES, Lane, Moment, ended_at, history_of
from rollout.telemetry.retention import interval_start, width_of_points

MAX_POINTS = 100
# A rollout that is younger has at least so much of an axis.
SHORTEST = timedelta(minutes=15)
# Names that a mark lists.
MAX_ACTORS = 3
T = TypeVar("T")


class _Style(NamedTuple):
    """How a mark of a lane looks, unless something failed."""

    tone: str
    icon: str


_STYLES: Mapping[Lane, _Style] = {
    "People": _Style("info", ""),
    "Guardrails": _Style("warn", "warning"),
    "Checks": _Style("good", "done"),
}


@dataclass(frozen=True)
class Row:
    name: str
    marks: list[Mark]


@dataclass(frozen=True)
class Timeline:
    """``plot`` is the p95's; None where nothing was measured in that time."""

    since: datetime
    until: datetime
    rows: list[Row]
    plot: Plot | None
    is_whole: bool
    is_young: bool
    """Whether the axis begins before the rollout, for its shortest length."""

    @property
    def middle(self) -> datetime:
        return self.since + (self.until - self.since) / 2

    @property
    def marks(self) -> list[Mark]:
        """The entries of all rows by time, the same for users who may not see the rows."""
        return sorted((mark for row in self.rows for mark in row.marks), key=lambda mark: mark.at)


def timeline_of(rollout: Rollout) -> Timeline | None:
    """The timeline from the rollout's first run or mark until now; None before there is one."""
    now = timezone.now()
    history = history_of(rollout, now)
    began = [run.created_at for run in history.runs[:1]] + [m.at for m in history.moments[:1]]
    if not began:
        return None
    age = now - min(began)
    span = max(age, SHORTEST)
    width = width_of_points(span, most=MAX_POINTS)
    # Whole intervals: the page changes with what happens, not from moment to moment.
    until = interval_start(now, int(width.total_seconds())) + width
    is_young = age < SHORTEST
    since = interval_start(now - span, int(width.total_seconds())) if is_young else min(began)
    rows = [
        Row(f"Phase {phase}", _bars(rollout, of_phase, since, until))
        for phase in sorted({run.phase for run in history.runs})
        for of_phase in [[run for run in history.runs if run.phase == phase]]
    ]
    for lane in LANES:
        of_lane = [moment for moment in history.moments if moment.lane == lane]
        clusters = clusters_of(of_lane, lambda moment: moment.at, since, until)
        if clusters:
            rows.append(Row(lane, [_sign(rollout, cluster) for cluster in clusters]))
    plot = _plot(rollout, since, until, width)
    return Timeline(since, until, rows, plot, history.is_whole, is_young)


def _bars(
    rollout: Rollout, runs: Iterable[PhaseRun], since: datetime, until: datetime
) -> list[Mark]:
    def span(run: PhaseRun) -> tuple[datetime, datetime]:
        return run.created_at, ended_at(run) or until

    return [_bar(rollout, bar) for bar in bars_of(runs, span, since, until)]


def _bar(rollout: Rollout, bar: Bar[PhaseRun]) -> Mark:
    newest = bar.items[-1]
    badge = BADGES[newest.direction][newest.state]
    return Mark(
        x=bar.x,
        width=bar.width,
        middle=bar.middle,
        lasts=True,
        tone=badge.tone or "info",
        icon=badge.icon,
        text=_number(bar.items),
        is_backward=newest.direction == Direction.BACKWARD,
        at=bar.items[0].created_at,
        until=ended_at(newest),
        what=in_words(
            [f"{run.title}: {BADGES[run.direction][run.state].label}" for run in bar.items]
        ),
        who=_actors(bar.items, lambda run: run.actor_name),
        url=rollout_url(rollout, "phase", newest.phase),
    )


def _sign(rollout: Rollout, cluster: Cluster[Moment]) -> Mark:
    lane = cluster.items[0].lane
    style = _STYLES["Checks" if all(m.is_good for m in cluster.items) else lane]
    is_bad = any(moment.is_bad for moment in cluster.items)
    return Mark(
        x=cluster.x,
        width="",
        middle=cluster.x,
        lasts=False,
        tone="bad" if is_bad else style.tone,
        icon="failed" if is_bad else style.icon,
        text=_number(cluster.items),
        is_backward=False,
        at=cluster.items[0].at,
        until=cluster.items[-1].at if len(cluster.items) > 1 else None,
        what=in_words([moment.headline for moment in cluster.items]),
        who=_actors(cluster.items, lambda moment: moment.actor),
        url=_url(rollout, cluster.items),
    )


def _number(items: Sequence[object]) -> str:
    return f"{len(items):,}" if len(items) > 1 else ""


def _actors(items: Iterable[T], actor: Callable[[T], str]) -> str:
    names = list(dict.fromkeys(actor(item) for item in items))
    return listed(names, MAX_ACTORS, ", ")


def _url(rollout: Rollout, moments: Sequence[Moment]) -> str:
    """The page of what a moment is about, else its entry; of several the activity."""
    if len(moments) > 1:
        return rollout_url(rollout, "activity")
    (moment,) = moments
    if moment.about is not None:
        page, number = moment.about
        return reverse(f"rollout:{page}", args=[number])
    return rollout_url(rollout, "activity-entry", moment.entry)


def _plot(rollout: Rollout, since: datetime, until: datetime, width: timedelta) -> Plot | None:
    if not is_protected(rollout.environment):
        return None
    points, _ = points_and_lately(since, until, width=width, plan=rollout.plan, operation="")
    measured = [(point.at, p95) for point in points if (p95 := point.stats.p95) is not None]
    if not measured:
        return None
    return plot_of("p95", "ms", [("p95", measured)], since, until, gap=2.5 * width)
