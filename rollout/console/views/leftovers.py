"""The page of transitional code: what the source on this machine needs of the legacy schema."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import rollout_or_404
from rollout.journal.environments import alias_of
from rollout.queries.leftovers import leftovers_of
from rollout.queries.status import summaries_of


@may("view_rollout")
@require_safe
def leftovers(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    (status,) = summaries_of([rollout])
    page = {
        "rollout": rollout,
        "status": status,
        "left": leftovers_of(status.plan, alias_of(environment)),
    }
    return render(request, "rollout/leftovers.html", page)
