"""The checklist's ticks, and trying the flows out."""

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import rollout_or_404
from rollout.console.views.runs import perform, redirect_back
from rollout.plan import plans


@may("tick_checklist")
@require_POST
def tick(request: ConsoleRequest, plan: str, environment: str, item: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    verb, done = (
        (runner.untick, "reopened")
        if request.POST.get("take_back")
        else (runner.tick, "marked done")
    )
    named = {known.id: known.text for known in plans.get(rollout.plan).checklist}
    perform(
        request,
        lambda: verb(rollout, item, actor=request.user),
        f"“{named.get(item, item)}” {done}.",
    )
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
