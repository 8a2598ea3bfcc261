"""The legacy texts that the newest full audit met, for tables whose texts take long to count."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

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
