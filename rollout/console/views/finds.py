"""The palette, and its page for browsers without scripts."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from rollout.console.finds import results_for
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.fragments import render_live
from rollout.queries.status import all_rollouts, summaries_of


@may("view_rollout", anywhere=True)
@require_safe
def find(request: ConsoleRequest) -> HttpResponse:
    seen = environments_seen_by(request.user, "view_rollout")
    summaries = summaries_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    text = request.GET.get("q", "")
    page = {"text": text, "results": results_for(text, summaries)}
    return render_live(request, "find", page)
