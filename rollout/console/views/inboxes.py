"""What waits for the reader: approvals, second signatures, restores, phases that stopped."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.queries.inboxes import waiting_for


@may("view_rollout", anywhere=True)
@require_safe
def inbox(request: ConsoleRequest) -> HttpResponse:
    rows = waiting_for(request.user)
    return render(request, "rollout/inbox.html", {"rows": rows})
