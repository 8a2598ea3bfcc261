"""What running a done phase again would find: a part of its page, and a page of its own."""

import psycopg
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import phase_or_404, status_or_404
from rollout.engine.target import reason_of
from rollout.queries.reruns import verify
from rollout.runner import Refused

# A person waits for the page; the shell has no such limit.
MAX_SECONDS = 5


@may("view_rollout")
@require_safe
def rerun(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    page: dict[str, object] = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "looked_at": timezone.now(),
    }
    try:
        page["rerun"] = verify(status.rollout, number, seconds=MAX_SECONDS)
    except Refused as refusal:
        page["refusal"] = str(refusal)
    except psycopg.Error as error:
        page["error"] = reason_of(error)
    template = "rerun_live" if request.htmx else "rerun"
    return render(request, f"rollout/{template}.html", page)
