"""The buttons. Each asks the runner, says what came of it, and goes back to where it was."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.views.decorators.http import require_http_methods, require_POST

from rollout import runner
from rollout.console.http.access import SAFE, ConsoleRequest, may
from rollout.console.http.links import page_of_ours
from rollout.console.http.sessions import confirmed_recently, field_sent, is_guarded
from rollout.console.http.shortcuts import rollout_or_404, run_or_404
from rollout.console.rollback_chains import loses
from rollout.journal.rollouts import active_run
from rollout.journal.scheduled_starts import overtaken_by
from rollout.models import Direction, PhaseRun, Rollout, RunState
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.runner.phases import stopped_run

Result = TypeVar("Result")


@may("pause_rollout")
@require_POST
def pause(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.pause(rollout, actor=request.user),
        "Pausing at the next safe point.",
    )
    return redirect_back(request, rollout)


def _resumes_guarded_run(request: HttpRequest, named: dict[str, Any]) -> bool:
    return is_guarded(active_run(rollout_or_404(named["plan"], named["environment"])))


def _retries_guarded_run(request: HttpRequest, named: dict[str, Any]) -> bool:
    return is_guarded(_run_to_retry(request, rollout_or_404(named["plan"], named["environment"])))


@may("pause_rollout")
@confirmed_recently(when=_resumes_guarded_run)
@require_POST
def resume(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(request, lambda: runner.resume(rollout, actor=request.user), "Resumed.")
    return redirect_back(request, rollout)


@may("start_rollout")
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    """Ask, then cancel the run that the page named: not another that began meanwhile."""
    rollout = rollout_or_404(plan, environment)
    run = active_run(rollout)
    if request.method == "POST":
        named = request.POST.get("run")
        if named and run_or_404(rollout, named) != run:
            messages.error(request, "Nothing was cancelled: that run has ended meanwhile.")
        else:
            perform(
                request,
                lambda: runner.cancel(rollout, actor=request.user),
                "Cancelling at the next safe point.",
            )
        return redirect_back(request, rollout)
    here = rollout.get_absolute_url()
    back = page_of_ours(request, request.GET.get("next", ""), here)
    if run is not None and run.state == RunState.CANCELLING:
        run = None
    page = {"rollout": rollout, "run": run, "back": back}
    return render(request, "rollout/confirm_cancel.html", page)


@may("start_rollout")
@confirmed_recently(when=_retries_guarded_run)
@require_http_methods(["GET", "HEAD", "POST"])
def retry(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    """Go on with a run that stopped; only for its plan's name, typed, where its start asks too."""
    rollout = rollout_or_404(plan, environment)
    run = _run_to_retry(request, rollout)
    destroys = run is not None and _asks_for_name(run)
    posted = request.method == "POST"
    if posted and (not destroys or has_typed_name(request, plans.get(plan))):
        perform(
            request,
            lambda: runner.retry(rollout, run=run, actor=request.user),
            lambda run: f"Retrying from the step that did not finish. {overtaken_by(run)}".strip(),
        )
        return redirect_back(request, rollout)
    page = {
        "rollout": rollout,
        "run": run,
        "name": run.name if run is not None else "",
        "destroys": destroys,
        "destructive": run is not None
        and (run.direction == Direction.BACKWARD or plans.get(plan).is_destructive(run.phase)),
        "next": request.POST.get("next", ""),
        **typed_name(request, plans.get(plan)),
    }
    return render(request, "rollout/confirm_retry.html", page, status=422 if posted else 200)


def _asks_for_name(run: PhaseRun) -> bool:
    if run.direction == Direction.BACKWARD:
        return loses(plans.get(run.rollout.plan), run.phase)
    return run.direction == Direction.FORWARD and is_guarded(run)


def _run_to_retry(request: HttpRequest, rollout: Rollout) -> PhaseRun | None:
    """The run that a form or an address names, else the newest that stopped short."""
    asked = request.GET if request.method in SAFE else request.POST
    named = asked.get("run")
    return stopped_run(rollout, run_or_404(rollout, named) if named else None)


def has_typed_name(request: HttpRequest, plan: Plan) -> bool:
    """Whether somebody typed the plan's name, as is wanted before something is destroyed."""
    return request.POST.get("typed", "").strip() == plan.name


def typed_name(request: HttpRequest, plan: Plan) -> dict[str, object]:
    """What the field for the plan's name shows."""
    wrong = request.method == "POST" and not has_typed_name(request, plan)
    return {"plan": plan, "typed": field_sent(request, "typed"), "wrong_name": wrong}


def perform(
    request: ConsoleRequest, verb: Callable[[], Result], done: str | Callable[[Result], str]
) -> bool:
    """Do it and say so, or say why not; whether it was done."""
    try:
        result = verb()
    except runner.Refused as refusal:
        messages.error(request, str(refusal))
        return False
    messages.success(request, done if isinstance(done, str) else done(result))
    return True


def redirect_back(request: ConsoleRequest, otherwise: Model | str) -> HttpResponse:
    """To the page of ours that the form names, else to an object's, or to a named one."""
    page = page_of_ours(request, request.POST.get("next", ""), resolve_url(otherwise))
    return redirect(page)
