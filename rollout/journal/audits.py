"""What audit reports tell of the mapping: what they compared with, and the texts that they met."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from rollout.journal.moments import in_words
from rollout.models import AuditMode, AuditReport, AuditStatus, Rollout
from rollout.plan.translations import Lookup

# The newest may be confined to other tables.
_LOOKED_AT = 10


@dataclass(frozen=True)
class AuditedTexts:
    """How many rows had each legacy text when an audit compared every row; none is ``""``."""

    audit: int
    at: datetime
    rows: dict[str, int]


def audited_texts(rollout: Rollout, lookup: Lookup) -> AuditedTexts | None:
    """None if no full audit of the lookup's table has finished."""
    reports = AuditReport.objects.filter(
        rollout=rollout,
        mode=AuditMode.FULL,
        status__in=(AuditStatus.CLEAN, AuditStatus.MISMATCHED),
    )
    for report in reports[:_LOOKED_AT]:
        for translation in report.translations:
            place = translation["table"], translation["legacy_column"]
            if place == (lookup.table.label, lookup.legacy):
                rows: Counter[str] = Counter()
                for cell in translation["cells"]:
                    rows[cell["legacy"] or ""] += cell["rows"]
                return AuditedTexts(report.pk, report.started_at, dict(rows))
    return None


def to_repair(
    audits: Iterable[AuditReport], *, is_reviewed_since: Callable[[AuditReport], bool]
) -> AuditReport | None:
    """Of finished audits, the newest first, the one whose mismatched rows wait for people.

    That is the newest full one, if any wait: a sample since has met only some of them, or none.
    Rows that only waited for decisions about values do no longer, once people have made some.
    """
    finished = list(audits)
    full = next((audit for audit in finished if audit.mode == AuditMode.FULL), None)
    candidates = (audit for audit in (full, *finished[:1]) if audit is not None)
    wrong = (audit for audit in candidates if audit.status == AuditStatus.MISMATCHED)
    waiting = (audit for audit in wrong if audit.mismatched > audit.waived)
    return next((a for a in waiting if not (asks_people(a) and is_reviewed_since(a))), None)


def clean_since(report: AuditReport) -> AuditReport | None:
    """The newest audit after this one that found every row right: nothing is left of this one."""
    clean = AuditReport.objects.filter(
        rollout=report.rollout, mode=AuditMode.FULL, tables=[], status=AuditStatus.CLEAN
    )
    return clean.filter(pk__gt=report.pk).defer("translations").first()


# Categories of rows that no repair can write: people decide about their values first.
ASKING_PEOPLE = ("unmapped", "ambiguous", "inactive", "undecided")


def asks_people(audit: AuditReport) -> bool:
    """Whether no mismatched row of an audit can be repaired before people decide about values."""
    asking = sum(audit.categories.get(category, 0) for category in ASKING_PEOPLE)
    return audit.mismatched > audit.waived and asking >= audit.mismatched


def reviewed(report: AuditReport) -> str:
    """``12 of 45 values reviewed``; empty if there is no mapping, or nobody counted."""
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
