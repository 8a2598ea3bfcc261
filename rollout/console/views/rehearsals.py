"""Rehearsals: the list of a rollout's with its staging databases, and what one found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollout import gates, runner
from rollout.console.badges import labels_of
from rollout.console.current_phases import JobView
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import render_live
from rollout.console.http.links import rollout_url
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import rehearsal_or_404, rollout_or_404, snapshot_named
from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import BY_AGE, Order, page_of
from rollout.console.views.runs import perform, redirect_back
from rollout.engine.preflight import Item
from rollout.journal.heartbeats import liveness
from rollout.journal.labels import gate_label
from rollout.journal.rehearsal_servers import rehearsal_server
from rollout.journal.snapshots import newest_verified
from rollout.models import (
    BackfillJob,
    Direction,
    Environment,
    EnvironmentState,
    Rehearsal,
    RehearsalState,
    Rollout,
    Snapshot,
)
from rollout.models.snapshots import SNAPSHOT_UNDER_WAY
from rollout.plan import plans
from rollout.plan.plan import BACKFILL, ROLES, Plan
from rollout.queries.predictions import PhasePrediction, Prediction, predict, rows_now
from rollout.queries.progress import progress_of
from rollout.queries.rehearsal_changes import (
    ResultChange,
    change_of,
    finished_before,
    time_left,
)
from rollout.queries.rehearsals import PhaseResult, Report, of_rollout, report_of, result_of

# The rehearsals before one whose rates its prediction takes into account.
COMPARED = 3
ORDERS = (
    *BY_AGE,
    Order("most-rows", "Most rows first", "rows", descending=True),
    Order("fewest-rows", "Fewest rows first", "rows"),
)


class RehearsalFilter(ListFilter):
    """Which rehearsals are listed."""

    state = choice(labels_of("rehearsal"), "Result")
    lookups: ClassVar = {"state": "state"}


@dataclass(frozen=True)
class PhaseRow:
    """A phase in both directions; None for one that was not begun."""

    number: int
    role: str
    forward: PhaseResult | None
    rollback: PhaseResult | None
    allowed: timedelta | None
    """How long the plan thinks the phase takes; None for a plan that is no longer in the code."""
    forward_change: ResultChange | None
    rollback_change: ResultChange | None
    """What changed since the rehearsal before."""
    forward_predicted: PhasePrediction | None
    rollback_predicted: PhasePrediction | None

    @property
    def scaled(self) -> list[str]:
        """The steps of both directions that take longer with more rows, each once."""
        predicted = [phase for phase in (self.forward_predicted, self.rollback_predicted) if phase]
        return list(dict.fromkeys(step for phase in predicted for step in phase.scaled))


@may("view_rollout", to_post="rehearse_rollout")
@require_http_methods(["GET", "HEAD", "POST"])
def rehearsals(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    if request.method == "POST":
        snapshot = snapshot_named(request.POST.get("snapshot", ""))
        try:
            runner.rehearse(
                rollout,
                snapshot=snapshot,
                keep=request.POST.get("keep") == "on",
                anyway=request.POST.get("anyway") == "on",
                actor=request.user,
            )
            messages.success(request, "Rehearsal requested. Production's data is not changed.")
        except runner.UnderLoad as refusal:
            return _page(request, rollout, load=refusal.items)
        except runner.Refused as refusal:
            messages.error(request, str(refusal))
        last = of_rollout(rollout).first()
        if last is not None and last.under_way:
            return redirect_back(request, last)
        return redirect_back(request, rollout_url(rollout, "rehearsals"))
    return _page(request, rollout)


def _page(request: ConsoleRequest, rollout: Rollout, *, load: Sequence[Item] = ()) -> HttpResponse:
    """``load`` is what speaks against a rehearsal on production's server at this moment."""
    plan = plans.get(rollout.plan)
    filters = RehearsalFilter(request.GET)
    listed = page_of(filters.of(of_rollout(rollout)), request.GET, size=10, orders=ORDERS)
    newest = newest_verified(rollout)
    page = {
        "rollout": rollout,
        "rehearsals": listed,
        "filters": filters,
        "digest": plan.digest,
        "outdated": _outdated(rollout, list(listed)),
        "newest": newest,
        "taking": newest is None
        and Snapshot.objects.filter(rollout=rollout, state__in=SNAPSHOT_UNDER_WAY).exists(),
        "refusal": runner.refusal_to_rehearse(rollout, newest),
        "server": _server(),
        "load": load,
        # The next rehearsal takes its place.
        "left_over": next(
            (
                rehearsal
                for rehearsal in listed
                if rehearsal.state == RehearsalState.FAILED
                and rehearsal.environment.state == EnvironmentState.READY
            ),
            None,
        ),
        "keep": request.POST.get("keep") == "on",
        "asked_there": [*_gates(plan, protected=False)],
        "not_asked_there": [
            name
            for name in _gates(plan, protected=True)
            if name not in _gates(plan, protected=False)
        ],
        "traffic": plan.traffic,
        "environments": made_for(rollout),
        "liveness": liveness(),
        "live": any(rehearsal.under_way for rehearsal in listed),
    }
    template = "rehearsals_live" if request.htmx else "rehearsals"
    return render(request, f"rollout/{template}.html", page, status=422 if load else 200)


@may("view_rollout")
@require_safe
def rehearsal(request: ConsoleRequest, rehearsal_id: int) -> HttpResponse:
    rehearsal = rehearsal_or_404(rehearsal_id)
    plan = plans.find(rehearsal.rollout.plan)
    report = report_of(rehearsal)
    earlier = finished_before(rehearsal, most=1 if rehearsal.under_way else COMPARED)
    before = earlier[0] if earlier else None
    is_current = plan is not None and rehearsal.plan_digest == plan.digest
    prediction = _predicted(report, earlier, plan) if is_current else None
    page = {
        "rehearsal": rehearsal,
        "rollout": rehearsal.rollout,
        "report": report,
        "before": before,
        "jobs": _running_jobs(report) if rehearsal.under_way else [],
        "time_left": time_left(report, before) if rehearsal.under_way else None,
        "prediction": prediction,
        "phases": [
            _row(number, report, before, plan, prediction)
            for number in range(rehearsal.first_phase, len(ROLES))
        ],
        "is_there": rehearsal.environment.state == EnvironmentState.READY,
        "is_current": is_current,
        "other_rows": max(sum(rehearsal.snapshot.counts.values()) - rehearsal.rows, 0),
        "newer": _outdated(rehearsal.rollout, [rehearsal]).get(rehearsal.pk, "") if plan else "",
        "traffic": plan.traffic if plan else "",
        "liveness": liveness() if rehearsal.under_way else None,
        "live": rehearsal.under_way,
    }
    return render_live(request, "rehearsal", page)


def _running_jobs(report: Report) -> list[JobView]:
    """What the step that runs now does to rows, and how far it is."""
    if report.running is None:
        return []
    jobs = BackfillJob.objects.filter(step_run=report.running.key, finished_at=None)
    return [JobView(job, progress_of(job)) for job in jobs.select_related("step_run__run__rollout")]


def _row(
    number: int,
    report: Report,
    before: Report | None,
    plan: Plan | None,
    prediction: Prediction | None,
) -> PhaseRow:
    forward, rollback = (
        _result(report, number, direction) for direction in (Direction.FORWARD, Direction.BACKWARD)
    )
    return PhaseRow(
        number,
        ROLES[number],
        forward,
        rollback,
        plan.phases[number].estimate if plan else None,
        change_of(forward, result_of(before, number, Direction.FORWARD)),
        change_of(rollback, result_of(before, number, Direction.BACKWARD)),
        prediction.of(number, Direction.FORWARD) if prediction else None,
        prediction.of(number, Direction.BACKWARD) if prediction else None,
    )


def _predicted(report: Report, earlier: list[Report], plan: Plan | None) -> Prediction | None:
    """What a finished rehearsal predicts; None where production cannot be asked for its rows."""
    rehearsal = report.rehearsal
    if plan is None or rehearsal.under_way or not report.done_runs:
        return None
    rows = rows_now(plan, rehearsal.rollout.environment)
    if rows is None:
        return None
    same = [other for other in earlier if other.rehearsal.plan_digest == rehearsal.plan_digest]
    return predict(plan, [report, *same], rows)


@may("rehearse_rollout")
@require_POST
def cancel(request: ConsoleRequest, rehearsal_id: int) -> HttpResponse:
    rehearsal = rehearsal_or_404(rehearsal_id)
    perform(
        request,
        lambda: runner.cancel_rehearsal(rehearsal, actor=request.user),
        "Cancelling the rehearsal. Its database is deleted once it has stopped.",
    )
    return redirect(rehearsal)


@may("rehearse_rollout")
@confirmed_recently()
@require_POST
def drop(request: ConsoleRequest, rehearsal_id: int) -> HttpResponse:
    rehearsal = rehearsal_or_404(rehearsal_id)
    perform(
        request,
        lambda: runner.drop_database(rehearsal, actor=request.user),
        "Database deleted. Results are kept.",
    )
    return redirect(rehearsal)


def _outdated(rollout: Rollout, ended: list[Rehearsal]) -> dict[int, str]:
    """By key, the review of a mapping since which a rehearsal that passed counts no longer."""
    passed = [rehearsal for rehearsal in ended if rehearsal.state == RehearsalState.PASSED]
    if not passed:
        return {}
    facts = gates.Evidence(rollout, BACKFILL).facts
    return {
        rehearsal.pk: newer
        for rehearsal in passed
        if (newer := facts.rehearsal_is_older_than(rehearsal))
    }


def _server() -> str:
    """The server that rehearsals are made on; empty for production's own."""
    try:
        server = rehearsal_server()
    except ImproperlyConfigured:
        return ""  # The button says what is wrong.
    return server.name if server else ""


def _gates(plan: Plan, *, protected: bool) -> list[str]:
    """The gates that are asked before any phase, each once."""
    gates_of = (plan.gates_of(n, protected=protected) for n in range(len(plan.phases)))
    return list(dict.fromkeys(gate_label(gate.name) for gates in gates_of for gate in gates))


def made_for(rollout: Rollout) -> list[Environment]:
    """The staging databases beside a rollout's, those in the making included."""
    return list(
        Environment.objects.filter(
            plan=rollout.plan,
            beside=rollout.environment,
            purpose=Environment.Purpose.STAGING,
        )
        .exclude(state=EnvironmentState.GONE)
        .select_related("snapshot")
        .defer("snapshot__crosstabs", "snapshot__contents")
    )


def _result(report: Report, phase: int, direction: str) -> PhaseResult | None:
    """The newest run of a phase in one direction."""
    results = [
        result
        for result in report.results
        if (result.phase, result.direction) == (phase, direction)
    ]
    return results[-1] if results else None
