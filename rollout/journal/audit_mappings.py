"""By which mapping an audit compared, and whether people had reviewed it."""

from rollout.journal.moments import in_words
from rollout.models import AuditReport


def reviewed(report: AuditReport) -> str:
    """``12 of 45 values reviewed``; empty where there is no mapping, or nobody counted."""
    values, by_people = report.mapping_values, report.mapping_reviewed
    if not values or by_people is None:
        return ""
    return f"{by_people:,} of {values:,} values reviewed"


def against(report: AuditReport, *, is_reviewed_since: bool = False) -> str:
    """The version of the mapping, and how much of it people had reviewed when the audit began."""
    if not (values := reviewed(report)):
        return ""
    last = f", last at {in_words(report.mapping_at)}" if report.mapping_at else ""
    since = " More has been reviewed since." if is_reviewed_since else ""
    return f"Compared with mapping {report.mapping_digest}; {values} at its start{last}.{since}"
