"""The checklist's ticks, and trying the flows out."""

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import rollout_or_404
from rollout.console.views.runs import perform, redirect_back


@may("tick_checklist")
@require_POST
def tick(request: ConsoleRequest, plan: str, environment: str, item: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    verb, done = (
        (runner.untick, "Item reopened.")
        if request.POST.get("take_back")
        else (runner.tick, "Item marked done.")
    )
    perform(request, lambda: verb(rollout, item, actor=request.user), done)
    return redirect_back(request, rollout)


@may("tick_checklist")
@require_POST
def probe(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.ask_to_probe(rollout, actor=request.user),
        "Smoke tests started. Results appear in a moment.",
    )
    return redirect_back(request, rollout)
