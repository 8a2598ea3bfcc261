"""The preflight of a phase: a part of its pages that comes after them, and a page of its own."""

import psycopg
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import phase_or_404, status_or_404
from rollout.engine.preflight import LEVELS, Findings, Level
from rollout.engine.target import reason_of
from rollout.queries.preflights import locks_of_rollback, look_before, readiness_of


@may("view_rollout")
@require_safe
def preflight(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    findings = look_before(status.rollout, number)
    page = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "findings": findings,
        "looked_at": timezone.now(),
        "counts": _counts(findings),
        "forward": True,
    }
    template = "preflight_live" if request.htmx else "preflight"
    return render(request, f"rollout/{template}.html", page)


def _counts(findings: Findings) -> dict[Level, int]:
    return {level: len(findings.of(level)) for level in LEVELS}


@may("view_rollout")
@require_safe
def readiness(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    status = status_or_404(plan, environment)
    findings = readiness_of(status.rollout)
    page = {
        "rollout": status.rollout,
        "status": status,
        "findings": findings,
        "looked_at": timezone.now(),
        "counts": _counts(findings),
    }
    return render(request, "rollout/readiness.html", page)


@may("view_rollout")
@require_safe
def rollback_locks(
    request: ConsoleRequest, plan: str, environment: str, number: int
) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    page: dict[str, object] = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "forward": False,
    }
    try:
        page["locks"] = locks_of_rollback(status.rollout, number)
    except psycopg.Error as error:
        page["error"] = reason_of(error)
    template = "rollback_locks_live" if request.htmx else "rollback_locks"
    return render(request, f"rollout/{template}.html", page)
