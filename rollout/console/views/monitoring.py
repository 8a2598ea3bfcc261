"""Latency and errors over time, next to what the rollout did; and the release of a hold."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django import forms
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from rollout import runner
from rollout.console.charts.lines import Level, Plot, Values, moving_of, numbers_of, plot_of
from rollout.console.charts.marks import lanes_of, marks_of
from rollout.console.charts.point_caches import points_and_lately
from rollout.console.comparisons import RECENT, compared_with_baseline, with_last_minute
from rollout.console.database_statistics import database_card
from rollout.console.guardrails import RuleRow, rules_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import MEASURED, cache_fragment, render_live
from rollout.console.http.shortcuts import rollout_or_404
from rollout.console.views.runs import perform, redirect_back
from rollout.console.views.shadow_reads import shadow_card
from rollout.engine.target import TargetAway
from rollout.models import PhaseRun, Rollout, RuleState
from rollout.plan.guardrails import COUNTED
from rollout.queries.modes import modes_of
from rollout.queries.status import summaries_of
from rollout.shadow.shares import has_both
from rollout.telemetry.operation_stats import OperationStats, Point
from rollout.telemetry.recorder import INTERVAL_SECONDS
from rollout.telemetry.retention import interval_start, width_of_points

MAX_POINTS = 100
# A rollout that is younger has at least so much of an axis.
SHORTEST = timedelta(minutes=3)
SPANS = {
    "": "Since the rollout started",
    "0.25": "Last 15 minutes",
    "1": "Last hour",
    "6": "Last 6 hours",
    "24": "Last day",
    "168": "Last week",
    "720": "Last 30 days",
}


class Chosen(forms.Form):
    """What is looked at."""

    hours = forms.ChoiceField(label="Time", choices=list(SPANS.items()), required=False)
    operation = forms.CharField(label="Operation", max_length=100, required=False)

    def span(self, rollout: Rollout, until: datetime) -> timedelta:
        """What was chosen; else the time since the first run, within what can be chosen."""
        if hours := self.is_valid() and self.cleaned_data["hours"]:
            return timedelta(hours=float(hours))
        runs = PhaseRun.objects.filter(rollout=rollout)
        first = runs.order_by("created_at").values_list("created_at", flat=True).first()
        began = first or until - timedelta(hours=1)
        longest = timedelta(hours=float([*SPANS][-1]))
        return min(max(until - began, SHORTEST), longest)


@may("view_rollout")
@require_safe
@cache_fragment
def monitoring(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    form = Chosen(request.GET)
    operation = form.cleaned_data.get("operation", "") if form.is_valid() else ""
    until = timezone.now()
    (status,) = summaries_of([rollout])
    runs = status.runs
    span = form.span(rollout, until)
    width = width_of_points(span, most=MAX_POINTS)
    since = interval_start(until - span, int(width.total_seconds()))
    points, lately = points_and_lately(
        since, until, width=width, plan=plan, operation=operation, lately=RECENT
    )
    newest = max(runs.values(), key=lambda run: run.pk, default=None)
    marks = marks_of(rollout, since, until)
    compared = with_last_minute(compared_with_baseline(newest, lately), until, plan)
    rules = rules_of(rollout, RuleState.objects.filter(rollout=rollout))
    of_operation = [row for row in rules if row.rule.operation == operation]
    row = next((row for row in compared if row.operation == (operation or "all")), None)
    plots, zero = moving_of(
        _plots(points, since, until, width, of_operation, row.before if row else None)
    )
    page = {
        "rollout": rollout,
        "status": status,
        "form": form,
        "operation": operation,
        "span": SPANS.get(form.data.get("hours", ""), SPANS[""]),
        "since": since,
        "until": until,
        "middle": since + (until - since) / 2,
        "marks": marks,
        "lanes": lanes_of(marks),
        "plots": plots,
        "zero": zero,
        "numbers": numbers_of(plots),
        "database": database_card(rollout, newest, since, until),
        "compared": compared,
        "operations": [row.operation for row in compared if row.operation != "all"],
        "newest": newest,
        "at_work": status.active,
        "rules": rules,
        "shadow": shadow_card(
            rollout,
            both=_has_both(rollout, runs),
            report=next((mark.report for mark in reversed(marks) if mark.report), None),
            since=since,
            until=until,
        ),
        "live": MEASURED,
    }
    return render_live(request, "monitoring", page)


@may("start_rollout")
@require_POST
def release(request: ConsoleRequest, plan: str, environment: str, rule_id: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.release(rollout, rule_id, actor=request.user),
        f"Hold of guardrail “{rule_id}” released.",
    )
    return redirect_back(request, rollout)


def _has_both(rollout: Rollout, runs: dict[int, PhaseRun]) -> bool:
    try:
        return has_both(runs, modes_of(rollout.plan, rollout.environment))
    except TargetAway:
        return False


def _plots(
    points: list[Point],
    since: datetime,
    until: datetime,
    width: timedelta,
    rules: Iterable[RuleRow],
    before: OperationStats | None,
) -> list[Plot]:
    # A point that has just begun says little; a current one lasts until the last known measurement.
    known_until = until - timedelta(seconds=INTERVAL_SECONDS)
    points = [p for p in points if known_until - p.at > width / 4]
    latencies: list[tuple[str, Values]] = [
        (f"p{share:.0f}", [(p.at, p.stats.milliseconds(share / 100)) for p in points])
        for share in (50, 95, 99)
    ]
    calls = [(p.at, p.stats.calls / min(width, known_until - p.at).total_seconds()) for p in points]
    errors = [(p.at, p.stats.error_rate * 100) for p in points]
    limits, shares = _limits(rules)
    if before is not None and before.p95 is not None:
        limits.append(Level("p95", before.p95, is_baseline=True))
    gap = 2.5 * width
    return [
        plot_of("Latency", "ms", latencies, since, until, levels=limits, gap=gap),
        plot_of("Calls", "per second", [("calls", calls)], since, until, gap=gap),
        plot_of("Errors", "% of calls", [("errors", errors)], since, until, levels=shares, gap=gap),
    ]


def _limits(rules: Iterable[RuleRow]) -> tuple[list[Level], list[Level]]:
    """Guardrails' limits of latencies, and those of the share of errors."""
    latencies, shares = [], []
    for row in rules:
        bound = row.state.bound if row.state else row.rule.bound(None)
        if bound is None:
            continue
        if row.rule.is_share:
            shares.append(Level(row.rule.id, bound * 100))
        elif row.rule.statistic not in COUNTED:
            latencies.append(Level(f"{row.rule.id} ({row.rule.statistic})", bound))
    return latencies, shares
