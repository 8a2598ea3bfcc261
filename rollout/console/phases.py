"""A phase: what its steps do and did, and the two pages that ask before it is carried out."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollout import runner
from rollout.console import focus, history, previews
from rollout.console.access import ConsoleRequest, may
from rollout.console.fetch import phase_or_404, status_or_404
from rollout.console.forecasts import forecasts
from rollout.console.live import FAST, pace, shared
from rollout.console.sessions import confirmed_recently, destructive
from rollout.console.verbs import carry_out
from rollout.runner import estimates
from rollout.status import PhaseStatus, RolloutStatus, steps_of


@may("view_rollout")
@require_safe
@shared()
def phase(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    steps = steps_of(status, number)
    page = {
        "status": status,
        "phase": phase,
        "card": focus.card_of(phase),
        "repair": focus.repair_of(status),
        "on_phase_page": True,
        "steps": steps,
        "current": focus.current_step(steps),
        "jobs": focus.jobs_of(phase.run),
        "report": focus.report_of(phase.run),
        "live": pace(focus.is_at_work(status)),
    }
    if request.htmx:
        return render(request, "rollout/phase_live.html", page)
    earlier = history.by_step(status.rollout, number, phase.run)
    page["described"] = [
        (step, previews.of_step(status.plan, step.step), earlier.get(step.step.id, []))
        for step in steps
    ]
    return render(request, "rollout/phase.html", page)


@may("start_rollout")
@confirmed_recently(when=destructive)
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    if request.method == "POST":
        carry_out(
            request,
            lambda: runner.start(status.rollout, number, actor=request.user),
            f"You started phase {number}.",
        )
        return redirect("rollout:phase", plan, environment, number)
    page = _forecast(status, phase)
    if request.htmx:
        return render(request, "rollout/forecasts_live.html", page)
    return render(request, "rollout/confirm_start.html", {**_confirmation(status, phase), **page})


@may("start_rollout")
@require_POST
def estimate(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase_or_404(status, number)
    carry_out(
        request,
        lambda: estimates.ask_for(status.rollout, number, actor=request.user),
        "You asked for an estimate. It appears below in a moment.",
    )
    return redirect("rollout:start", plan, environment, number)


@may("roll_back_rollout")
@confirmed_recently()
@require_http_methods(["GET", "HEAD", "POST"])
def roll_back(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    if request.method == "POST":
        carry_out(
            request,
            lambda: runner.roll_back(status.rollout, number, actor=request.user),
            f"You started the rollback of phase {number}.",
        )
        return redirect("rollout:phase", plan, environment, number)
    return render(request, "rollout/confirm_roll_back.html", _confirmation(status, phase))


def _forecast(status: RolloutStatus, phase: PhaseStatus) -> dict[str, object]:
    return {
        "status": status,
        "phase": phase,
        "forecasts": forecasts(status, phase.number),
        "live": FAST if estimates.waiting(status.rollout, phase.number) else 0,
    }


def _confirmation(status: RolloutStatus, phase: PhaseStatus) -> dict[str, object]:
    plan, steps = status.plan, status.plan.phases[phase.number].steps
    return {
        "status": status,
        "phase": phase,
        "steps": [(step, previews.of_step(plan, step)) for step in steps],
        "forward_locks": previews.table_locks(plan.forward(step) for step in steps),
        "backward_locks": previews.table_locks(plan.backward(step) for step in steps),
    }
