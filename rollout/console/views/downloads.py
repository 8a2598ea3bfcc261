"""What can be downloaded: mismatching rows, a phase's scripts for psql, its clients' interfaces."""

from collections.abc import Iterator

import psycopg
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from rollout.console.charts.crosstabs import PAIR_COLUMNS, pairs_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import audit_or_404, plan_or_404, rollout_or_404
from rollout.engine.target import reason_of
from rollout.models import AuditReport, AuditStatus
from rollout.plan import interfaces
from rollout.plan.psql_scripts import forward_script, rollback_script
from rollout.plan.registry import UnknownPlan
from rollout.queries.exports import as_csv, as_json, in_cells, kept_of, rows_of
from rollout.queries.schema_diffs import schema_of

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
}
SCRIPTS = {"forward": forward_script, "rollback": rollback_script}


@may("view_rollout")
@require_safe
def script(
    request: ConsoleRequest, plan: str, environment: str, number: int, direction: str
) -> HttpResponse:
    """A phase in one direction; what the pages show of its steps, in one piece."""
    text = SCRIPTS[direction](plan_or_404(plan, environment, number), number)
    response = HttpResponse(text, content_type="application/sql; charset=utf-8")
    name = f"{plan}-phase-{number}-{direction}.sql"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


@may("view_rollout")
@require_safe
def types(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    """The TypeScript interfaces of the tables once a phase is done."""
    known_plan = plan_or_404(plan, environment, number)
    try:
        schema = schema_of(rollout_or_404(plan, environment))
    except psycopg.Error as error:
        text = f"Cannot read the live schema. {reason_of(error)}"
        return HttpResponse(text, content_type="text/plain; charset=utf-8", status=503)
    text = interfaces.once_done(known_plan, schema.live.shape, number, done=schema.phases_done)
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=f"{plan}-phase-{number}.ts"
    )
    return response


@may("view_rollout")
@require_safe
def pairs(request: ConsoleRequest, audit_id: int) -> HttpResponse:
    """Every pair of legacy and new value that a report counted."""
    report = _finished_or_404(audit_id)
    return streamed(as_csv(pairs_of(report), PAIR_COLUMNS), "csv", f"audit-{report.pk}-pairs")


@may("view_rollout")
@require_safe
def export(request: ConsoleRequest, audit_id: int, form: str) -> HttpResponse:
    report = _finished_or_404(audit_id)
    only_kept = request.GET.get("rows") == "kept"
    try:
        rows = kept_of(report) if only_kept else rows_of(report)
    except (psycopg.Error, UnknownPlan) as error:
        page = {
            "report": report,
            "rollout": report.rollout,
            "counted": in_cells(report),
            "reason": str(error) if isinstance(error, UnknownPlan) else reason_of(error),
        }
        return render(request, "rollout/export_away.html", page, status=409)
    write = as_csv if form == "csv" else as_json
    return streamed(write(rows), form, f"audit-{report.pk}{'-kept-rows' if only_kept else ''}")


def _finished_or_404(audit_id: int) -> AuditReport:
    report = audit_or_404(audit_id)
    if report.status == AuditStatus.RUNNING:
        raise Http404(f"Audit {audit_id} is still running. Wait for its report.")
    return report


def streamed(lines: Iterator[str], form: str, name: str) -> HttpResponse:
    """A file that is sent line by line."""
    response = StreamingHttpResponse(lines, content_type=CONTENT_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    # A StreamingHttpResponse is answered like any other.
    return response  # type: ignore[return-value]
