"""A phase: its steps and their results, and the pages that confirm its start and rollback."""

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollout import runner
from rollout.console import current_phases, job_histories, previews
from rollout.console.approvals import approvals_of, rejections_of, requests_of
from rollout.console.csv_uploads import csv_states
from rollout.console.forecasts import forecasts
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import (
    FAST,
    cache_fragment,
    reload_seconds,
    render_live,
    vary_on_user,
)
from rollout.console.http.links import rollout_url
from rollout.console.http.sessions import confirmed_recently, guarded
from rollout.console.http.shortcuts import phase_or_404, plan_or_404, rollout_or_404, status_or_404
from rollout.console.releases import release_of
from rollout.console.rollback_chains import (
    destroys,
    lost_by,
    progress_of,
    restored_by,
    rollbacks_of,
)
from rollout.console.rollback_fates import fates_of, is_archived
from rollout.console.views.runs import has_typed_name, perform, redirect_back, typed_name
from rollout.console.views.scheduled_starts import zone_of
from rollout.journal.scheduled_starts import overtaken_by
from rollout.models import Direction, PhaseRun, RunState, SignOffKind
from rollout.plan.gates import Approved
from rollout.plan.plan import BACKFILL, EXPAND
from rollout.plan.schema_changes import of_phase
from rollout.queries.inboxes import decisions_url
from rollout.queries.pauses import pause_of
from rollout.queries.rehearsals import forecast_of
from rollout.queries.status import PhaseStatus, RolloutStatus, steps_of
from rollout.runner import estimates
from rollout.runner.rollback_chains import seen_of
from rollout.runner.scheduled_starts import window_of


@may("view_rollout")
@require_safe
@cache_fragment
def phase(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment, starter=request.user)
    phase = phase_or_404(status, number)
    steps = steps_of(status, number)
    page = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "card": current_phases.card_template(phase),
        "pause": pause_of(phase.run, status.evidence.facts),
        "retry": current_phases.retry_of(phase),
        "repair": current_phases.repair_of(status),
        "chain": progress_of(status),
        "schedule": status.rollout.scheduled,
        "on_phase_page": True,
        "steps": steps,
        "current": current_phases.current_step(steps),
        "jobs": current_phases.jobs_of(steps),
        "report": current_phases.report_of(status, phase),
        "live": reload_seconds(current_phases.is_at_work(status)),
        **requested(request, status, phase),
        "checklist": current_phases.checklist_of(status) if number == 0 else [],
        "stale_types": current_phases.stale_types_of(status) if number == status.phase else [],
    }
    if request.htmx:
        return render_live(request, "phase", page)
    earlier = job_histories.by_step(status.rollout, number, phase.run)
    page["proofs"] = previews.what_proves(status.plan, number)
    page["release"] = release_of(
        status.plan, number, environment, is_done=phase.state == RunState.DONE
    )
    both_ways = (
        forecast_of(status.rehearsal, number, direction)
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    )
    files = csv_states(status, number)
    page["described"] = [
        (step, preview, earlier.get(step.step.id, []), files.get(step.step.id))
        for step, (_, preview) in zip(
            steps, previews.of_phase(status, number, *both_ways), strict=True
        )
    ]
    return render(request, "rollout/phase.html", page)


@may("start_rollout")
@confirmed_recently(when=guarded, has_form=True)
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    if request.method == "POST":
        named = plan_or_404(plan, environment, number)
        if not named.is_guarded(number) or has_typed_name(request, named):
            return _started(request, plan, environment, number)
    status = status_or_404(plan, environment, starter=request.user)
    phase = phase_or_404(status, number)
    page = _forecast(status, phase)
    if request.htmx and request.GET.get("show") != "gates":
        return render(request, "rollout/forecasts_live.html", page)
    page |= _waiting(request, status, phase)
    page |= confirmation(status, phase)
    if request.htmx:
        response = render_live(request, "start", page)
        if phase.can_start or request.GET.get("seen") != phase.digest:
            # The whole page is another: with the form, or of other SQL.
            response["HX-Refresh"] = "true"
        return response
    page |= typed_name(request, status.plan)
    page["is_archived"] = is_archived(status.plan, number)
    page["next"] = (request.POST or request.GET).get("next", "")
    return render(
        request,
        "rollout/confirm_start.html",
        {**_signed(request, status, phase), **page},
        status=422 if request.method == "POST" else 200,
    )


def _waiting(
    request: ConsoleRequest, status: RolloutStatus, phase: PhaseStatus
) -> dict[str, object]:
    """What a phase still waits for: asked again until it can start."""
    is_due = phase.number == status.next_phase
    query = urlencode({"show": "gates", "seen": phase.digest})
    return {
        "gates_live": FAST if is_due and not phase.can_start else 0,
        "gates_address": f"{request.path}?{query}",
        "checklist": current_phases.checklist_of(status) if is_due and phase.number else [],
        "undecided": current_phases.undecided_before(status, phase),
        "decisions_url": decisions_url(status.rollout),
        **requested(request, status, phase),
    }


def _started(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    rollout, seen = rollout_or_404(plan, environment), request.POST.get("seen", "")
    try:
        run = runner.start(rollout, number, seen=seen, actor=request.user)
    except runner.PhaseChanged as refusal:
        messages.error(request, f"Not started. {refusal}")
        return redirect("rollout:start", plan, environment, number)
    except runner.Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"Phase {number} queued. {overtaken_by(run)}".strip())
    return redirect_back(request, rollout_url(rollout, "phase", number))


@may("start_rollout")
@require_POST
def estimate(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase_or_404(status, number)
    perform(
        request,
        lambda: estimates.ask_for(status.rollout, number, actor=request.user),
        "Estimating. The estimate appears below in a moment.",
    )
    return redirect("rollout:start", plan, environment, number)


@may("roll_back_rollout")
@confirmed_recently(has_form=True)
@require_http_methods(["GET", "HEAD", "POST"])
def roll_back(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    """Roll back a phase, and before it those that came later, in one go."""
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    is_destructive = destroys(status, number)
    named = not is_destructive or has_typed_name(request, status.plan)
    if request.method == "POST" and named:
        seen, who = request.POST.get("seen", ""), request.user
        perform(
            request,
            lambda: runner.roll_back_to(status.rollout, number - 1, seen=seen, actor=who),
            lambda run: f"Rollback of {_phases(run)} queued. {overtaken_by(run)}".strip(),
        )
        if status.phase is not None and status.phase > number:
            return redirect(status.rollout)
        return redirect("rollout:phase", plan, environment, number)
    rollbacks = rollbacks_of(status, number)
    first, *later = rollbacks
    page = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "first": first,
        "rollbacks": rollbacks,
        "is_chain": bool(later),
        "fates": fates_of(
            status.plan,
            gone=set(lost_by(rollbacks)),
            restored=restored_by(rollbacks),
        ),
        "keeps_value_decisions": bool(status.plan.reviewed_conversions)
        and any(rollback.phase.number in (EXPAND, BACKFILL) for rollback in rollbacks),
        "losing": next((rollback.phase for rollback in rollbacks if rollback.loses), None),
        "is_destructive": is_destructive,
        **typed_name(request, status.plan),
        "targets": [n for n in range(first.phase.number, -1, -1) if first.phase.can_roll_back],
        "seen": seen_of(status.plan, first.phase.number),
        # The first to be rolled back may not be among those that were rehearsed.
        "rehearsed": next((r.rehearsed for r in rollbacks if r.rehearsed), None),
        "total_seconds": sum(
            rollback.result.seconds or 0 for rollback in rollbacks if rollback.result
        ),
        "not_rehearsed": [r.phase.number for r in rollbacks if r.steps and not r.result],
    }
    status_code = 422 if request.method == "POST" else 200
    return render(request, "rollout/confirm_roll_back.html", page, status=status_code)


def _phases(run: PhaseRun) -> str:
    """What is rolled back with the run that a confirmation began."""
    if run.chain is None:
        return f"phase {run.phase}"
    return f"phases {run.phase} to {run.chain.to_phase + 1}, newest first,"


@may("roll_back_rollout")
@require_POST
def cancel_chain(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.cancel_chain(rollout, actor=request.user),
        "No further phase is rolled back.",
    )
    return redirect_back(request, rollout)


def _forecast(status: RolloutStatus, phase: PhaseStatus) -> dict[str, object]:
    passes = forecasts(status, phase.number)
    waiting = any(
        forecast.estimate and estimates.is_waiting(forecast.estimate) for forecast in passes
    )
    return {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "forecasts": passes,
        "live": FAST if waiting else 0,
    }


def _signed(
    request: ConsoleRequest, status: RolloutStatus, phase: PhaseStatus
) -> dict[str, object]:
    evidence = status.evidence.of_phase(phase.number)
    return {
        "approvals": approvals_of(evidence) if phase.needs_approval else [],
        "rejections": rejections_of(evidence) if phase.needs_approval else [],
        "schedule": status.rollout.scheduled,
        "zone": zone_of(status.plan, phase.number),
        "window": window_of(status.plan, phase.number),
        "at": request.GET.get("at", ""),
    }


def requested(
    request: ConsoleRequest, status: RolloutStatus, phase: PhaseStatus
) -> dict[str, object]:
    """The open requests for approval of a phase, and whether the reader made them."""
    evidence = status.evidence.of_phase(phase.number)
    requests = requests_of(evidence) if phase.needs_approval else []
    due = status.phases[status.evidence.number]
    # Who has approved the phase that is due cannot start it.
    approvals = status.evidence.sign_offs(SignOffKind.APPROVAL) if due.needs_approval else []
    if requests or approvals or any(gate.asked for gate in phase.gates):
        vary_on_user(request)
    return {
        "requests": requests,
        "requested_by_you": any(signed.actor_id == request.user.pk for signed in requests),
    }


def confirmation(status: RolloutStatus, phase: PhaseStatus) -> dict[str, object]:
    """What a page shows of a phase that asks somebody to answer for it."""
    rehearsed = forecast_of(status.rehearsal, phase.number, Direction.FORWARD)
    steps = previews.of_phase(status, phase.number, rehearsed)
    return {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "steps": steps,
        "rehearsed": rehearsed,
        "approval_lasts": next(
            (g.valid_for for g in status.plan.gates_of(phase.number) if isinstance(g, Approved)),
            None,
        ),
        "forward_locks": previews.strongest_first(
            lock for _, p in steps for lock in p.forward_locks
        ),
        "schema_changes": of_phase(status.plan, phase.number),
        "backward_locks": previews.strongest_first(
            lock for _, p in steps for lock in p.backward_locks
        ),
    }
