"""What can be downloaded: mismatching rows, a phase's scripts for psql, its clients' interfaces."""

import psycopg
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import audit_or_404, plan_or_404, rollout_or_404
from rollout.engine.target import reason_of
from rollout.models import AuditStatus
from rollout.plan import interfaces
from rollout.plan.psql_scripts import forward_script, rollback_script
from rollout.plan.registry import UnknownPlan
from rollout.queries.exports import as_csv, as_json, in_cells, kept_of, rows_of
from rollout.queries.schema_diffs import schema_of

FORMS = {"csv": (as_csv, "text/csv; charset=utf-8"), "json": (as_json, "application/json")}
SCRIPTS = {"forward": forward_script, "rollback": rollback_script}


@may("view_rollout")
@require_safe
def script(
    request: ConsoleRequest, plan: str, environment: str, number: int, way: str
) -> HttpResponse:
    """A phase one way; what the pages show of its steps, in one piece."""
    text = SCRIPTS[way](plan_or_404(plan, environment, number), number)
    answer = HttpResponse(text, content_type="application/sql; charset=utf-8")
    name = f"{plan}-phase-{number}-{way}.sql"
    answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return answer


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
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=f"{plan}-phase-{number}.ts"
    )
    return answer


@may("view_rollout")
@require_safe
def export(request: ConsoleRequest, audit_id: int, form: str) -> HttpResponse:
    report = audit_or_404(audit_id)
    if report.status == AuditStatus.RUNNING:
        raise Http404(f"Audit {audit_id} is still running. Wait for its report.")
    write, content_type = FORMS[form]
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
    answer = StreamingHttpResponse(write(rows), content_type=content_type)
    name = f"audit-{report.pk}{'-kept-rows' if only_kept else ''}.{form}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    # A StreamingHttpResponse is answered like any other.
    return answer  # type: ignore[return-value]
