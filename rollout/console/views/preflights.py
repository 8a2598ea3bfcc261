"""What a phase's pages read from the database after they are shown: each has a page of its own.

The preflight, the readiness of a plan, the locks of a rollback, and a second run of a done phase.
"""

import psycopg
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import render_part
from rollout.console.http.shortcuts import phase_or_404, status_or_404
from rollout.engine.preflight import LEVELS, Findings
from rollout.engine.target import reason_of
from rollout.queries.preflights import locks_of_rollback, preflight_of, readiness_of
from rollout.queries.reruns import verify
from rollout.queries.status import RolloutStatus
from rollout.runner import Refused

# A person waits for the page of a second run; the shell has no such limit.
MAX_RERUN_SECONDS = 5


@may("view_rollout")
@require_safe
def preflight(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    page = _page(status, preflight_of(status.rollout, number)) | {"phase": phase, "forward": True}
    return render_part(request, "preflight", page)


def _page(status: RolloutStatus, findings: Findings | None = None) -> dict[str, object]:
    page = {"rollout": status.rollout, "status": status, "checked_at": timezone.now()}
    if findings is None:
        return page
    counts = {level: len(findings.of(level)) for level in LEVELS}
    return page | {"findings": findings, "counts": counts}


@may("view_rollout")
@require_safe
def readiness(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    status = status_or_404(plan, environment)
    page = _page(status, readiness_of(status.rollout))
    return render(request, "rollout/readiness.html", page)


@may("view_rollout")
@require_safe
def rollback_locks(
    request: ConsoleRequest, plan: str, environment: str, number: int
) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    page = _page(status) | {"phase": phase, "forward": False}
    try:
        page["locks"] = locks_of_rollback(status.rollout, number)
    except psycopg.Error as error:
        page["error"] = reason_of(error)
    return render_part(request, "rollback_locks", page)


@may("view_rollout")
@require_safe
def rerun(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    page = _page(status) | {"phase": phase}
    try:
        page["rerun"] = verify(status.rollout, number, seconds=MAX_RERUN_SECONDS)
    except Refused as refusal:
        page["refusal"] = str(refusal)
    except psycopg.Error as error:
        page["error"] = reason_of(error)
    return render_part(request, "rerun", page)
