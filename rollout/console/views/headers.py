"""The live part of a rollout's header, which every page of the rollout asks for again."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from rollout.console.headers import live_header_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import cache_fragment, vary_on_user
from rollout.console.http.links import page_of_ours
from rollout.console.http.shortcuts import rollout_or_404


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
