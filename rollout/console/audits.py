"""Audits: the list of a rollout's, and the report of one."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from rollout import runner
from rollout.console.access import ConsoleRequest, may
from rollout.console.crosstab import crosstabs, shares
from rollout.console.fetch import audit_or_404, rollout_or_404
from rollout.console.paging import page_of
from rollout.console.rows import row_url
from rollout.console.verbs import carry_out
from rollout.heartbeats import liveness
from rollout.models import AuditReport, AuditStatus


@may("view_rollout", to_post="audit_rollout")
@require_http_methods(["GET", "HEAD", "POST"])
def audits(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    if request.method == "POST":
        carry_out(
            request,
            lambda: runner.start_audit(rollout, actor=request.user),
            "You started a full audit. Its report appears below.",
        )
        return redirect("rollout:audits", plan, environment)
    reports = page_of(AuditReport.objects.filter(rollout=rollout), request.GET, size=25)
    page = {
        "rollout": rollout,
        "reports": reports,
        "liveness": liveness(),
        "live": any(report.status == AuditStatus.RUNNING for report in reports),
    }
    return render(request, f"rollout/{'audits_live' if request.htmx else 'audits'}.html", page)


@may("view_rollout")
@require_safe
def audit(request: ConsoleRequest, audit_id: int) -> HttpResponse:
    report = audit_or_404(audit_id)
    running = report.status == AuditStatus.RUNNING
    found = report.found.all()
    column, category = (_words(request, name) for name in ("column", "category"))
    if column:
        found = found.filter(column=column)
    if category:
        found = found.filter(category=category)
    mismatches = page_of(found, request.GET, size=25, newest_first=False)
    page = {
        "report": report,
        "report_card": f"rollout/report/{report.status}.html",
        "rollout": report.rollout,
        "shares": shares(report.categories),
        "crosstabs": crosstabs(report),
        "mismatches": mismatches,
        "rows": [(mismatch, row_url(mismatch.table, mismatch.key)) for mismatch in mismatches],
        "column": column,
        "category": category,
        "liveness": liveness() if running else None,
        "live": running,
    }
    return render(request, f"rollout/{'audit_live' if request.htmx else 'audit'}.html", page)


def _words(request: ConsoleRequest, name: str) -> str:
    """A text of the address that the database can be asked about."""
    return request.GET.get(name, "").replace("\x00", "")
