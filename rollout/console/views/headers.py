"""What the header of every page leads to: inbox, palette, and a rollout's live header itself."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from rollout.console.finds import results_for
from rollout.console.headers import live_header_of
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.fragments import cache_fragment, render_part, vary_on_user
from rollout.console.http.links import page_of_ours
from rollout.console.http.shortcuts import rollout_or_404
from rollout.queries.inboxes import waiting_for
from rollout.queries.status import RolloutSummary, all_rollouts, summaries_of


@may("view_rollout")
@require_safe
@cache_fragment
def header(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    page = page_of_ours(request, request.GET.get("page", ""), rollout.get_absolute_url())
    if not request.htmx:
        # Somebody followed the address of a part of the page.
        return redirect(page)
    live = live_header_of(rollout, request, page, request.GET.get("name", ""))
    if live.is_own:
        vary_on_user(request)
    return render(request, "rollout/header_live.html", {"rollout": rollout, "header": live})


@may("view_rollout", anywhere=True)
@require_safe
def inbox(request: ConsoleRequest) -> HttpResponse:
    """What waits for the reader: approvals, second signatures, restores, phases that stopped."""
    rows = waiting_for(request.user)
    page = {"rows": rows, "to_start": [] if rows else _to_start(request)}
    return render(request, "rollout/inbox.html", page)


def _to_start(request: ConsoleRequest) -> list[RolloutSummary]:
    """The rollouts whose next phase the reader may start, once its gates have passed."""
    seen = environments_seen_by(request.user, "start_rollout")
    summaries = summaries_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    return [
        summary
        for summary in summaries
        if summary.next_phase is not None and summary.active is None and summary.repair is None
    ]


@may("view_rollout", anywhere=True)
@require_safe
def find(request: ConsoleRequest) -> HttpResponse:
    """The palette's results, as a page too for browsers without scripts."""
    seen = environments_seen_by(request.user, "view_rollout")
    summaries = summaries_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    text = request.GET.get("q", "")
    page = {"text": text, "results": results_for(text, summaries)}
    return render_part(request, "find", page)
