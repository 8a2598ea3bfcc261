"""The application's latency and errors over time, next to what the rollout did."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rollout.console.access import ConsoleRequest, may
from rollout.console.chart import Band, Line, band_of, line_of
from rollout.console.fetch import rollout_or_404
from rollout.console.rules import rules_of
from rollout.models import BackfillJob, PhaseRun, Rollout, Way
from rollout.telemetry.reading import Figures, Point, figures, over_time, together
from rollout.telemetry.signal import BASELINE, judge

POINTS = 90
NOW = timedelta(minutes=5)
"""The last figures are those of so much time."""
SPANS = {"1": "Last hour", "6": "Last 6 hours", "24": "Last day", "168": "Last week"}

Values = list[tuple[datetime, float | None]]


class Chosen(forms.Form):
    """What is looked at."""

    hours = forms.ChoiceField(label="Time", choices=list(SPANS.items()), required=False)
    operation = forms.CharField(label="Operation", max_length=100, required=False)

    @property
    def span(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data.get("hours") or 1))


@dataclass(frozen=True)
class Mark:
    """Something that the rollout did, in the plot's time."""

    label: str
    band: Band
    kind: str
    began: datetime
    ended: datetime | None


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
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """The numbers behind the lines, by time."""
        values = [dict(line.points) for _, line in self.lines]
        times = sorted({at for of_line in values for at in of_line})
        return [(at, [of_line.get(at) for of_line in values]) for at in times]


@dataclass(frozen=True)
class Compared:
    """An operation now, and before the rollout's newest phase."""

    operation: str
    now: Figures
    before: Figures

    @property
    def difference(self) -> float | None:
        """Of the p95, in milliseconds."""
        if self.now.p95 is None or self.before.p95 is None:
            return None
        return self.now.p95 - self.before.p95

    @property
    def verdict(self) -> str:
        status = judge(self.now, self.before).status
        return {"ok": "as before", "throttle": "slower", "stop": "failing"}.get(
            status, "too few calls"
        )


@may("view_rollout")
@require_safe
def monitoring(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    form = Chosen(request.GET)
    span = form.span if form.is_valid() else timedelta(hours=1)
    operation = form.cleaned_data.get("operation", "") if form.is_valid() else ""
    until = timezone.now()
    since = until - span
    points = over_time(since, until, points=POINTS, operation=operation)
    newest = PhaseRun.objects.filter(rollout=rollout).exclude(way=Way.REPAIR).first()
    compared = _compared(newest.created_at if newest else None, until)
    page = {
        "rollout": rollout,
        "form": form,
        "operation": operation,
        "span": SPANS.get(form.data.get("hours", ""), SPANS["1"]),
        "since": since,
        "until": until,
        "middle": since + span / 2,
        "marks": _marks(rollout, since, until),
        "plots": _plots(points, since, until) if points else [],
        "compared": compared,
        "operations": [one.operation for one in compared if one.operation != "all"],
        "newest": newest,
        "rules": rules_of(rollout),
        "live": True,
    }
    template = "monitoring_live" if request.htmx else "monitoring"
    return render(request, f"rollout/{template}.html", page)


def _compared(since: datetime | None, until: datetime) -> list[Compared]:
    now = figures(until - NOW, until)
    before = figures(since - BASELINE, since) if since else {}
    rows = [
        Compared(name, now.get(name, Figures()), before.get(name, Figures()))
        for name in sorted({*now, *before})
    ]
    if rows:
        rows.append(Compared("all", together(now.values()), together(before.values())))
    return rows


def _plots(points: list[Point], since: datetime, until: datetime) -> list[Plot]:
    seconds = (until - since).total_seconds() / POINTS
    latencies: list[tuple[str, Values]] = [
        (f"p{share:.0f}", [(p.at, p.figures.milliseconds(share / 100)) for p in points])
        for share in (99, 95, 50)
    ]
    calls: Values = [(p.at, p.figures.calls / seconds) for p in points]
    errors: Values = [(p.at, p.figures.error_rate * 100) for p in points]
    return [
        _plot("Latency", "ms", latencies, since, until),
        _plot("Calls", "a second", [("calls", calls)], since, until),
        _plot("Errors", "% of calls", [("errors", errors)], since, until, least=1.0),
    ]


def _plot(
    heading: str,
    unit: str,
    lines: list[tuple[str, Values]],
    since: datetime,
    until: datetime,
    *,
    least: float = 0.0,
) -> Plot:
    known = [
        (name, [(at, value) for at, value in line if value is not None]) for name, line in lines
    ]
    highest = max((value for _, line in known for _, value in line), default=0.0)
    drawn = [
        (name, line_of(line, since, until, at_least=max(highest, least))) for name, line in known
    ]
    return Plot(heading, unit, drawn, drawn[0][1].top)


def _marks(rollout: Rollout, since: datetime, until: datetime) -> list[Mark]:
    """The runs and backfills of a rollout that fall into the time, oldest first."""
    in_time = Q(finished_at__gt=since) | Q(finished_at=None)
    runs = PhaseRun.objects.filter(in_time, rollout=rollout, created_at__lt=until)[:50]
    jobs = BackfillJob.objects.filter(
        in_time, step_run__run__rollout=rollout, created_at__lt=until
    )[:50]
    words = {Way.FORWARD: "phase {}", Way.BACKWARD: "rollback of {}", Way.REPAIR: "repair in {}"}
    marks = [
        Mark(
            words[Way(run.way)].format(run.phase),
            band_of(run.created_at, run.finished_at or until, since, until),
            "phase",
            run.created_at,
            run.finished_at,
        )
        for run in runs
    ]
    marks += [
        Mark(
            f"{job.kind} of {job.table}",
            band_of(job.created_at, job.finished_at or until, since, until),
            "job",
            job.created_at,
            job.finished_at,
        )
        for job in jobs
    ]
    return sorted(marks, key=lambda mark: mark.began)
