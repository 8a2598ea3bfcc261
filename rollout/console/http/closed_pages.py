"""What is answered where a database or a plan is away: what the journal knows, and what to do.

Every view of the console comes here by ``access.may``; none looks out for itself.
"""

import psycopg
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from rollout.console.http.shortcuts import Closed
from rollout.console.job_histories import jobs_of
from rollout.engine.target import TargetAway, TargetGone, reason_of
from rollout.models import AuditReport, LogEntry, PhaseRun, Rehearsal, Rollout, Snapshot
from rollout.plan.registry import UnknownPlan

# Maximum of each kind, the newest; the activity log has the rest.
MAX_OF_EACH = 50
READ = ("GET", "HEAD")


def closed_page(request: HttpRequest, closed: Closed) -> HttpResponse:
    """All that the journal knows of a rollout whose plan or environment is there no more."""
    rollout, refused = closed.rollout, request.method not in READ
    page = {
        "rollout": rollout,
        "why": str(closed),
        "refused": refused,
        "most": MAX_OF_EACH,
        "runs": PhaseRun.objects.filter(rollout=rollout).order_by("-id")[:MAX_OF_EACH],
        "jobs": jobs_of(rollout)[:MAX_OF_EACH],
        "audits": AuditReport.objects.filter(rollout=rollout).defer("translations")[:MAX_OF_EACH],
        "snapshots": Snapshot.objects.filter(rollout=rollout).defer("crosstabs", "contents")[
            :MAX_OF_EACH
        ],
        "rehearsal": Rehearsal.objects.filter(sandbox=rollout).first(),
        "entries": _entries_of(rollout),
    }
    return render(request, "rollout/closed.html", page, status=409 if refused else 200)


def away_page(request: HttpRequest, error: psycopg.Error | UnknownPlan) -> HttpResponse:
    """A page that is nothing without the database, or the plan, that is away or another."""
    comes_back = isinstance(error, TargetAway) and not isinstance(error, TargetGone)
    refused = request.method not in READ
    gone = isinstance(error, TargetGone | UnknownPlan) and not refused
    page = {
        "why": f"The plan of this page is no longer in the project's code. {error}"
        if isinstance(error, UnknownPlan)
        else reason_of(error),
        "refused": refused,
        "comes_back": comes_back,
        "gone": gone,
        "status": (status := 503 if comes_back else 410 if gone else 409),
    }
    response = render(request, "rollout/away.html", page, status=status)
    if comes_back:
        response["Retry-After"] = "5"
    return response


def _entries_of(rollout: Rollout) -> list[LogEntry]:
    own = LogEntry.objects.filter(plan=rollout.plan, environment=rollout.environment)
    # As the index has it: by the number alone all entries of others would be looked at.
    return list(own.order_by("plan", "environment", "-id")[:MAX_OF_EACH])
