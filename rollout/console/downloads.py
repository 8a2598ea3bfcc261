"""What can be downloaded: mismatching rows, streamed, and a phase as a script for psql."""

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from rollout.console.access import ConsoleRequest, may
from rollout.console.fetch import audit_or_404, plan_or_404
from rollout.exports import as_csv, as_json, rows_of
from rollout.models import AuditStatus
from rollout.plan.psql import forward_script, rollback_script

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
def export(request: ConsoleRequest, audit_id: int, form: str) -> HttpResponse:
    report = audit_or_404(audit_id)
    if report.status == AuditStatus.RUNNING:
        raise Http404(f"Audit {audit_id} is still running. Wait for its report.")
    write, content_type = FORMS[form]
    answer = StreamingHttpResponse(write(rows_of(report)), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="audit-{report.pk}.{form}"'
    # A StreamingHttpResponse is answered like any other.
    return answer  # type: ignore[return-value]
