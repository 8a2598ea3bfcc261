"""Reports of audits, as a worker leaves them, and what becomes of their findings."""

from collections import Counter

from django.utils import timezone

from rollout.engine.audit import AuditResult, Cell, RowMismatch, TranslationResult
from rollout.journal import findings
from rollout.models import AuditReport, Mismatch, Rollout


def report_on(
    rollout: Rollout, keys: set[str], *, mode: str = "full", kept: bool = True
) -> AuditReport:
    """A report that found these rows, and wrote them down."""
    report = AuditReport.objects.create(
        rollout=rollout, mode=mode, plan_digest="x", actor_name="ada", started_at=timezone.now()
    )
    rows = [
        RowMismatch("properties", key, [key], "currency", "missing", None, "USD", None)
        for key in sorted(keys)
    ]
    counted = len(rows) if kept else len(rows) + 1
    cells = [Cell(None, None, "missing", counted)] if counted else []
    result = AuditResult(
        by_table={"properties": Counter({"missing": counted})},
        translations=[TranslationResult("properties", "currency", "", "", cells)],
        mismatches=rows,
    )
    findings.settle(report, result)
    report.mismatched = counted
    report.save()
    return report


def states(report: AuditReport) -> dict[str, str]:
    return dict(Mismatch.objects.filter(report=report).values_list("key", "state"))
