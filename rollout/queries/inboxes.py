"""What waits for a person: approvals, starts, restores, reviews, mismatches, stopped phases."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Now
from django.urls import reverse

from rollout.journal.environments import configured, homes, is_protected
from rollout.journal.labels import gate_label
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    Direction,
    MappingChange,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    SignOff,
    SignOffKind,
    Snapshot,
)
from rollout.permissions import allowed_in
from rollout.plan import plans
from rollout.plan.gates import MappingReviewed
from rollout.plan.plan import BACKFILL, ENFORCE
from rollout.plan.registry import UnknownPlan

# Enough for a page; more of them wait for a meeting, not for a click.
MAX_OF_A_KIND = 50

May = Callable[[str, Rollout], bool]


@dataclass(frozen=True)
class Waiting:
    """Something that a person has to decide: since when, and on which page."""

    rollout: Rollout
    what: str
    asked_by: str
    since: datetime
    url: str
    """Address of the page that has the button."""
    comment: str = ""
    addressees: tuple[str, ...] = ()
    """Users whom a request names; empty for all who may decide."""
    reminded_at: datetime | None = None


def waiting_for(user: User) -> list[Waiting]:
    """Return what waits for a user who may decide on it, the oldest first.

    What is addressed to others by name comes last. Nobody is asked for what they asked for
    themselves. Six queries, whatever there is.
    """
    home, username = homes(), user.get_username()

    def may(permission: str, rollout: Rollout) -> bool:
        return rollout.environment in home and allowed_in(
            user, permission, home[rollout.environment]
        )

    waiting = [
        *_signatures(username, may),
        *_restores(username, may),
        *_reviews(may),
        *_mismatches(may),
        *_stopped_runs(may),
    ]
    return sorted(waiting, key=lambda item: (_is_for_others(item, username), item.since))


def _is_for_others(item: Waiting, username: str) -> bool:
    return bool(item.addressees) and username not in item.addressees


def _signatures(username: str, may: May) -> list[Waiting]:
    """Requests, second signatures and approved starts that wait, of phases as they are now."""
    sign_offs = (
        SignOff.objects.select_related("rollout")
        .annotate(
            direction_before=_of_newest_run("direction", before=1),
            state_before=_of_newest_run("state", before=1),
            direction=Coalesce(_of_newest_run("direction", before=0), Value(Direction.BACKWARD)),
        )
        .filter(
            Q(kind=SignOffKind.REQUEST)
            | Q(kind=SignOffKind.OVERRIDE, confirmed_at=None)
            | Q(
                ~Exists(_rejections()),
                kind=SignOffKind.APPROVAL,
                actor__isnull=False,
                direction_before=Direction.FORWARD,
                state_before=RunState.DONE,
                direction=Direction.BACKWARD,
            ),
            Q(expires_at=None) | Q(expires_at__gt=Now()),
            withdrawn_at=None,
            run=None,
        )
    )
    waiting = []
    for sign_off in sign_offs.exclude(actor_name=username)[:MAX_OF_A_KIND]:
        rollout, phase = sign_off.rollout, sign_off.phase
        try:
            plan = plans.get(rollout.plan)
        except UnknownPlan:
            continue
        if phase not in range(len(plan.phases)) or sign_off.phase_digest != plan.digest_of(phase):
            continue
        item = Waiting(
            rollout,
            f"Approve phase {phase}",
            sign_off.actor_name,
            sign_off.at,
            _page("approve", rollout, phase),
            comment=sign_off.reason,
            addressees=tuple(sign_off.addressees),
            reminded_at=sign_off.reminded_at,
        )
        match sign_off.kind:
            case SignOffKind.REQUEST if may("approve_rollout", rollout):
                waiting.append(item)
            case SignOffKind.APPROVAL if may("start_rollout", rollout):
                what = f"Start phase {phase}, approved by {sign_off.actor_name}"
                url = _page("start", rollout, phase)
                waiting.append(replace(item, what=what, asked_by="", url=url))
            case SignOffKind.OVERRIDE if plan.is_guarded(phase) and may("override_gate", rollout):
                gate = gate_label(sign_off.subject)
                what = f"Confirm the override of gate “{gate}” before phase {phase}"
                url = f"{rollout.get_absolute_url()}#overrides"
                waiting.append(replace(item, what=what, comment="", url=url))
    return waiting


def _of_newest_run(field: str, *, before: int) -> Subquery:
    """Field of the newest run ``before`` phases earlier than the signed one."""
    runs = PhaseRun.objects.filter(rollout=OuterRef("rollout"), phase=OuterRef("phase") - before)
    return Subquery(runs.exclude(direction=Direction.REPAIR).order_by("-id").values(field)[:1])


def _rejections() -> QuerySet[SignOff]:
    return SignOff.objects.filter(
        rollout=OuterRef("rollout"),
        phase=OuterRef("phase"),
        phase_digest=OuterRef("phase_digest"),
        kind=SignOffKind.REJECTION,
        withdrawn_at=None,
    )


def _restores(username: str, may: May) -> list[Waiting]:
    restores = Restore.objects.select_related("rollout").filter(state=RestoreState.WAITING)
    return [
        Waiting(
            restore.rollout,
            f"Approve the restore of snapshot {restore.snapshot_id}",
            restore.actor_name,
            restore.created_at,
            f"{Snapshot(pk=restore.snapshot_id).get_absolute_url()}#restores",
        )
        for restore in restores.exclude(actor_name=username)[:MAX_OF_A_KIND]
        if may("restore_snapshot", restore.rollout)
    ]


def _reviews(may: May) -> list[Waiting]:
    """Mappings that the gate before phase 3 waits for, as the newest full audit counted values.

    The gate itself asks the target, which no page's navigation can wait for.
    """
    newest = (
        PhaseRun.objects.filter(
            phase__in=(BACKFILL, ENFORCE), direction__in=(Direction.FORWARD, Direction.BACKWARD)
        )
        .order_by("rollout", "-id")
        .distinct("rollout")
    )
    audits = AuditReport.objects.filter(
        rollout=OuterRef("rollout"), mode=AuditMode.FULL, mapping_values__isnull=False
    ).order_by("-id")
    changes = MappingChange.objects.filter(
        rollout=OuterRef("rollout"), at__gt=OuterRef("audited_at")
    )
    runs = (
        PhaseRun.objects.select_related("rollout")
        .filter(
            Q(phase=BACKFILL, direction=Direction.FORWARD)
            | Q(phase=ENFORCE, direction=Direction.BACKWARD),
            pk__in=newest.values("pk"),
            state=RunState.DONE,
            rollout__environment__in=configured(),
        )
        .annotate(
            audited_at=Subquery(audits.values("started_at")[:1]),
            open=Subquery(audits.values(open=F("mapping_values") - F("mapping_reviewed"))[:1]),
            reviewed_since=Subquery(
                changes.values("rollout").annotate(total=Sum("decided")).values("total")
            ),
        )
        .filter(open__gt=Coalesce("reviewed_since", 0))
    )
    return [
        Waiting(
            run.rollout,
            f"Review the mapping before phase {ENFORCE}",
            run.actor_name,
            run.finished_at or run.created_at,
            f"{reverse('rollout:mappings', args=[run.rollout.plan, run.rollout.environment])}"
            "?show=open",
        )
        for run in runs[:MAX_OF_A_KIND]
        if may("review_mapping", run.rollout) and _asks_for_a_review(run.rollout)
    ]


def _asks_for_a_review(rollout: Rollout) -> bool:
    try:
        plan = plans.get(rollout.plan)
    except UnknownPlan:
        return False
    gates = plan.gates_of(ENFORCE, protected=is_protected(rollout.environment))
    return any(isinstance(gate, MappingReviewed) for gate in gates)


def _mismatches(may: May) -> list[Waiting]:
    """Rows that the newest audit of a rollout found mismatched and nobody has waived."""
    finished = AuditReport.objects.exclude(status=AuditStatus.RUNNING)
    newest = finished.order_by("rollout", "-id").distinct("rollout").values("pk")
    audits = AuditReport.objects.select_related("rollout").filter(
        pk__in=newest,
        status=AuditStatus.MISMATCHED,
        mismatched__gt=F("waived"),
        rollout__environment__in=configured(),
    )
    return [
        Waiting(
            audit.rollout,
            _repair_of(audit),
            audit.actor_name,
            audit.finished_at or audit.started_at,
            audit.get_absolute_url(),
        )
        for audit in audits[:MAX_OF_A_KIND]
        if may("repair_rows", audit.rollout)
    ]


def _repair_of(audit: AuditReport) -> str:
    rows = audit.mismatched - audit.waived
    return f"Repair or waive {rows:,} mismatched row{'' if rows == 1 else 's'} of audit {audit.pk}"


def _stopped_runs(may: May) -> list[Waiting]:
    """Phases that failed or are paused; a rehearsal's are its own affair."""
    newest = PhaseRun.objects.order_by("rollout", "-id").distinct("rollout").values("pk")
    runs = PhaseRun.objects.select_related("rollout", "repair").filter(
        pk__in=newest,
        state__in=(RunState.FAILED, RunState.PAUSED),
        rollout__environment__in=configured(),
    )
    return [
        Waiting(
            run.rollout,
            _stop_of(run),
            run.actor_name,
            run.stopped_at or run.created_at,
            run.get_absolute_url(),
        )
        for run in runs[:MAX_OF_A_KIND]
        if may("pause_rollout", run.rollout)
    ]


def _stop_of(run: PhaseRun) -> str:
    if run.state == RunState.FAILED:
        return f"{run.title} failed"
    by = f" by {run.pause['by']}" if run.pause else ""
    return f"{run.title} is paused{by}"


def _page(name: str, rollout: Rollout, phase: int) -> str:
    return reverse(f"rollout:{name}", args=[rollout.plan, rollout.environment, phase])
