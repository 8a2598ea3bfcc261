"""The buttons. Each asks the runner, says what came of it, and goes back to where it was."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.access import ConsoleRequest, may
from rollout.console.fetch import rollout_or_404, run_or_404


@may("pause_rollout")
@require_POST
def pause(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    carry_out(
        request,
        lambda: runner.pause(rollout, actor=request.user),
        "You asked to pause; work stops at the next safe point.",
    )
    return back(request, plan, environment)


@may("pause_rollout")
@require_POST
def resume(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    carry_out(
        request,
        lambda: runner.resume(rollout, actor=request.user),
        "You resumed the work.",
    )
    return back(request, plan, environment)


@may("start_rollout")
@require_POST
def cancel(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    carry_out(
        request,
        lambda: runner.cancel(rollout, actor=request.user),
        "You asked to cancel; work stops at the next safe point.",
    )
    return back(request, plan, environment)


@may("start_rollout")
@require_POST
def retry(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    run = run_or_404(rollout, request.POST["run"]) if request.POST.get("run") else None
    carry_out(
        request,
        lambda: runner.retry(rollout, run=run, actor=request.user),
        "You asked to try again, from the step that did not end.",
    )
    return back(request, plan, environment)


def carry_out(request: ConsoleRequest, verb: Callable[[], object], done: str) -> bool:
    """Do it and say so, or say why not; whether it was done."""
    try:
        verb()
    except runner.Refused as refusal:
        messages.error(request, str(refusal))
        return False
    messages.success(request, done)
    return True


def back(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    """To the page of ours that the form names, else to the rollout's."""
    return back_or_to(request, reverse("rollout:rollout", args=[plan, environment]))


def back_or_to(request: ConsoleRequest, otherwise: str) -> HttpResponse:
    """To the page of ours that the form names, else to another."""
    page = request.POST.get("next", "")
    if not page.startswith("/") or not url_has_allowed_host_and_scheme(page, allowed_hosts=None):
        page = otherwise
    return redirect(page)
