"""Rows that have to follow what people decided about their values after phase 2 had filled them."""

from collections.abc import Iterable

from django.db.models import Exists, OuterRef
from django.urls import reverse

from rollout.gates.phase_states import is_not_started
from rollout.journal.environments import configured
from rollout.models import (
    ACTIVE,
    AuditMode,
    AuditReport,
    AuditStatus,
    Direction,
    MappingChange,
    PhaseRun,
    Repair,
    RunState,
)
from rollout.plan.plan import BACKFILL, CONTRACT
from rollout.queries.waits import Gravity, May, Waiting, newest_of_phases


def updates_of(runs: list[PhaseRun], may: May) -> list[Waiting]:
    """Rows that hold what they did before a review, where a run can write them now."""
    phases = newest_of_phases(runs)
    busy = {run.rollout_id for run in runs if run.active}
    backfills = {
        rollout: run
        for (rollout, phase), run in phases.items()
        if phase == BACKFILL
        and run.direction == Direction.FORWARD
        and is_not_started(phases.get((rollout, CONTRACT)))
        and rollout not in busy
        and run.rollout.environment in configured()
        and may("repair_rows", run.rollout)
    }
    changes = _unfollowed(backfills) if backfills else {}
    return [
        Waiting(
            change.rollout,
            f"{change.to_update} of {change.table}"
            f"{f', then retry phase {BACKFILL}' if run.state == RunState.FAILED else ''}",
            change.reviewer,
            change.at,
            reverse("rollout:correct", args=[change.pk]),
            comment="They hold what they did before people decided about their values.",
            gravity=Gravity.HARM,
        )
        for rollout, change in changes.items()
        for run in [backfills[rollout]]
        if change.at > run.created_at
    ]


def _unfollowed(rollouts: Iterable[int]) -> dict[int, MappingChange]:
    """By rollout the newest review that moves rows, where these wait for an update.

    No repair has brought them to follow or is at it, and no audit of all rows has met them since.
    """
    repairs = Repair.objects.filter(change=OuterRef("pk"), run__state__in=(*ACTIVE, RunState.DONE))
    audits = AuditReport.objects.filter(
        rollout=OuterRef("rollout"),
        mode=AuditMode.FULL,
        tables=[],
        status__in=(AuditStatus.CLEAN, AuditStatus.MISMATCHED),
        started_at__gt=OuterRef("at"),
    )
    newest = (
        MappingChange.objects.filter(rollout__in=rollouts, changes__contains=[{"moved": True}])
        .exclude(rows_affected=0)
        .annotate(has_followed=Exists(repairs) | Exists(audits))
        .select_related("rollout")
        .defer("changes", "earlier")
        .order_by("rollout", "-id")
        .distinct("rollout")
    )
    return {change.rollout_id: change for change in newest if not change.has_followed}
