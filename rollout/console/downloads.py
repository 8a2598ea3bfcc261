"""Mismatching rows as files, streamed."""

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from rollout.console.access import ConsoleRequest, may
from rollout.console.fetch import audit_or_404
from rollout.exports import as_csv, as_json, rows_of
from rollout.models import AuditStatus

FORMS = {"csv": (as_csv, "text/csv; charset=utf-8"), "json": (as_json, "application/json")}


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
