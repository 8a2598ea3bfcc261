"""Reviews of values whose rows have yet to follow them: gates, inbox and pages read them here."""

from collections.abc import Mapping

from django.db.models import Exists, F, Func, JSONField, OuterRef

from rollout.gates.phase_states import is_not_started
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    MappingChange,
    PhaseRun,
    Repair,
    RunState,
)
from rollout.plan.plan import BACKFILL, CONTRACT

# A review can have thousands of values, of which only these count here.
_MOVED_TEXTS = Func(
    F("changes"),
    template="jsonb_path_query_array(%(expressions)s, '$[*] ? (@.moved == true).legacy')",
    output_field=JSONField(),
)


def reviews_to_follow(
    runs: Mapping[int, Mapping[int, PhaseRun]],
) -> dict[int, list[MappingChange]]:
    """By rollout the reviews whose rows still hold what they held before, the newest first.

    ``runs`` has each rollout's newest run of each phase. The rows of a review follow it by a
    repair that updates them, by a run of phase 2 or its rollback that begins later, and as far as
    an audit of all rows that begins later says: its report has what is still wrong. A text that is
    decided again belongs to the newest review of it. Once phase 4 has begun, no row can follow.
    """
    repairs = Repair.objects.filter(change=OuterRef("pk"), run__state=RunState.DONE)
    audits = AuditReport.objects.filter(
        rollout=OuterRef("rollout"),
        mode=AuditMode.FULL,
        tables=[],
        status__in=(AuditStatus.CLEAN, AuditStatus.MISMATCHED),
        started_at__gt=OuterRef("at"),
    )
    moving = (
        MappingChange.objects.filter(
            ~Exists(audits),
            rollout__in=[key for key, own in runs.items() if is_not_started(own.get(CONTRACT))],
            changes__contains=[{"moved": True}],
        )
        .annotate(texts=_MOVED_TEXTS, is_updated=Exists(repairs))
        .select_related("rollout")
        .defer("changes", "earlier")
        .order_by("-id")
    )
    to_follow: dict[int, list[MappingChange]] = {key: [] for key in runs}
    decided: set[tuple[int, str, str, str]] = set()
    for change in moving:
        key, backfill = change.rollout_id, runs[change.rollout_id].get(BACKFILL)
        if backfill is not None and backfill.created_at >= change.at:
            continue
        values = {(key, change.table, change.legacy_column, text) for text in change.texts}
        if change.rows_affected != 0 and not change.is_updated and values - decided:
            to_follow[key].append(change)
        decided |= values
    return to_follow
