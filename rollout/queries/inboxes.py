"""What waits for a person: approvals, starts, restores, reviews, mismatches, stopped phases."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

from django.contrib.auth.models import User
from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Now
from django.urls import reverse

from rollout.gates import Evidence
from rollout.gates.mappings import mapping_reviewed
from rollout.gates.phase_states import is_done
from rollout.journal.audits import asks_people, to_repair
from rollout.journal.environments import configured, homes, is_protected
from rollout.journal.labels import gate_label
from rollout.logs.texts import counted
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
from rollout.plan.extractions import Extract
from rollout.plan.gates import MappingReviewed, ValuesDecided
from rollout.plan.plan import BACKFILL, ENFORCE
from rollout.plan.registry import UnknownPlan
from rollout.queries.holds import releases_of
from rollout.queries.row_updates import updates_of
from rollout.queries.stops import Stop, stop_of_rollout
from rollout.queries.waits import Gravity, May, Waiting, newest_of_phases

# Enough for a page; more of them wait for a meeting, not for a click.
MAX_OF_A_KIND = 50


def waiting_for(user: User) -> list[Waiting]:
    """Return what waits for a user who may decide on it: the gravest first, then the oldest.

    What is addressed to others by name comes last. Nobody is asked for what they asked for
    themselves. Eight queries at most, whatever there is: each page's navigation has the number.
    """
    home, username = homes(), user.get_username()

    def may(permission: str, rollout: Rollout) -> bool:
        return rollout.environment in home and allowed_in(
            user, permission, home[rollout.environment]
        )

    runs = _newest_runs(home)
    reviews, updates = reviews_of(runs, may), updates_of(runs, may)
    # What comes before the start of a phase that is approved.
    first = [
        *reviews,
        *updates,
        *_mismatches(may, {review.rollout.pk for review in reviews}),
        *releases_of(runs, may),
    ]
    before_retries = {item.rollout.pk for item in (*updates, *reviews)}
    waiting = [
        *_signatures(runs, username, may, {item.rollout.pk for item in first}),
        *_restores(username, may),
        *first,
        *_stopped_runs(runs, may, before_retries),
    ]
    return sorted(
        waiting, key=lambda item: (_is_for_others(item, username), item.gravity, item.since)
    )


def _is_for_others(item: Waiting, username: str) -> bool:
    return bool(item.addressees) and username not in item.addressees


def _newest_runs(environments: Iterable[str]) -> list[PhaseRun]:
    """The newest run of each phase and direction of the rollouts there, oldest first."""
    key = ("rollout", "phase", "direction")
    runs = PhaseRun.objects.filter(rollout__environment__in=environments)
    newest = runs.select_related("rollout", "repair").order_by(*key, "-id").distinct(*key)
    return sorted(newest, key=lambda run: run.pk)


def _signatures(
    runs: list[PhaseRun], username: str, may: May, blocked: Container[int]
) -> list[Waiting]:
    """Requests, rejections, second signatures and approved starts, of phases as they are now.

    Nobody is asked to start a phase of a ``blocked`` rollout: something else comes first there.
    """
    of_phases = newest_of_phases(runs)
    sign_offs = SignOff.objects.select_related("rollout__schedule").filter(
        Q(kind=SignOffKind.REQUEST)
        | Q(kind=SignOffKind.OVERRIDE, confirmed_at=None)
        | Q(kind=SignOffKind.REJECTION, actor__isnull=False)
        | Q(~Exists(_rejections()), kind=SignOffKind.APPROVAL, actor__isnull=False),
        Q(expires_at=None) | Q(expires_at__gt=Now()),
        withdrawn_at=None,
        run=None,
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
            case SignOffKind.APPROVAL if (
                rollout.pk not in blocked
                and _is_next(of_phases, rollout.pk, phase)
                and not _is_scheduled(rollout, phase)
                and may("start_rollout", rollout)
            ):
                what = f"Start phase {phase}, approved by {sign_off.actor_name}"
                url = _page("start", rollout, phase)
                waiting.append(replace(item, what=what, asked_by="", url=url))
            case SignOffKind.REJECTION if (
                sign_off.plan_digest == plan.digest
                and not is_done(of_phases.get((rollout.pk, phase)))
                and may("start_rollout", rollout)
            ):
                what = f"Phase {phase} was rejected by {sign_off.actor_name}"
                url = f"{_page('start', rollout, phase)}#approvals"
                waiting.append(replace(item, what=what, asked_by="", url=url))
            case SignOffKind.OVERRIDE if plan.is_guarded(phase) and may("override_gate", rollout):
                gate = gate_label(sign_off.subject)
                what = f"Confirm the override of gate “{gate}” before phase {phase}"
                url = f"{rollout.get_absolute_url()}#overrides"
                waiting.append(replace(item, what=what, comment="", url=url))
    return waiting


def _is_next(runs: Mapping[tuple[int, int], PhaseRun], rollout: int, phase: int) -> bool:
    """Whether a phase is not started and the one before it is done."""
    newest = runs.get((rollout, phase))
    is_there = newest is not None and newest.direction == Direction.FORWARD
    return is_done(runs.get((rollout, phase - 1))) and not is_there


def _is_scheduled(rollout: Rollout, phase: int) -> bool:
    """Whether a phase starts by itself at a time to come."""
    start = rollout.start_to_come
    return start is not None and start.phase == phase


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


def reviews_of(runs: list[PhaseRun], may: May) -> list[Waiting]:
    """Values that the gates before phase 3 wait for, as the newest full audit counted them.

    The gates themselves ask the target: of a mapping only where that audit found open values.
    """
    after = ((BACKFILL, Direction.FORWARD), (ENFORCE, Direction.BACKWARD))
    newest = {
        run.rollout_id: run
        # The newest of both phases tells how far the rollout is: after a rollback, the earlier.
        for run in sorted(runs, key=attrgetter("pk"))
        if run.phase in (BACKFILL, ENFORCE) and run.direction != Direction.REPAIR
    }
    waiting = {
        rollout: run
        for rollout, run in newest.items()
        if (run.phase, run.direction) in after
        and run.rollout.environment in configured()
        and may("review_mapping", run.rollout)
    }
    audits = _open_values_of(waiting) if waiting else {}
    return [
        Waiting(
            run.rollout,
            f"{what}{f', then retry phase {run.phase}' if failed else f' before phase {ENFORCE}'}",
            run.actor_name,
            run.finished_at or run.created_at,
            decisions_url(run.rollout) if why == "" else f"{mappings_url(run.rollout)}?show=open",
            comment=why,
            gravity=Gravity.HARM if failed else Gravity.DECISION,
        )
        for rollout, run in waiting.items()
        if rollout in audits
        for failed in [run.phase == BACKFILL and run.state == RunState.FAILED]
        for what, why in _open_reviews(run, *audits[rollout])
    ]


def mappings_url(rollout: Rollout) -> str:
    return reverse("rollout:mappings", args=[rollout.plan, rollout.environment])


def decisions_url(rollout: Rollout) -> str:
    """The page on which people decide about values: of the only column that asks, if one does."""
    plan = plans.find(rollout.plan)
    asking = plan.reviewed_conversions if plan is not None and not plan.lookups else ()
    if len(asking) != 1:
        return mappings_url(rollout)
    place = asking[0].table.label, asking[0].name
    return reverse("rollout:values", args=[rollout.plan, rollout.environment, *place])


def _open_reviews(run: PhaseRun, unreviewed: int, undecided: int) -> Iterator[tuple[str, str]]:
    """What of a rollout waits for a review of the mapping, and why; or for decisions."""
    try:
        plan = plans.get(run.rollout.plan)
    except UnknownPlan:
        return
    gates = plan.gates_of(ENFORCE, protected=is_protected(run.rollout.environment))
    review = next((gate for gate in gates if isinstance(gate, MappingReviewed)), None)
    if unreviewed > 0 and review is not None and run.state == RunState.DONE:
        answer = mapping_reviewed(review, Evidence(run.rollout, ENFORCE, plan=plan))
        # New values may wait for a while.
        if answer.status != "pass":
            yield "Review the mapping", answer.message
    # Its audit keeps phase 2 from ending while any is undecided.
    if undecided > 0 and any(isinstance(gate, ValuesDecided) for gate in gates):
        conflicts = all(isinstance(t, Extract) for t in plan.reviewed_conversions)
        what = "keys in conflict" if conflicts else "values that do not convert"
        yield f"Decide about {what}", ""


def _open_values_of(rollouts: Iterable[int]) -> dict[int, tuple[int, int]]:
    """By rollout, what the newest full audit found and nobody has decided on since: values of
    mappings, and rows that do not convert."""

    def since(column: str) -> Coalesce:
        changes = MappingChange.objects.filter(
            rollout=OuterRef("rollout"), at__gt=OuterRef("started_at")
        )
        # A review of a mapping counts its values, a decision about conversions none.
        changes = changes.filter(decided=0) if column == "rows_changed" else changes
        total = changes.values("rollout").annotate(total=Sum(column)).values("total")
        return Coalesce(Subquery(total), 0, output_field=BigIntegerField())

    audits = (
        AuditReport.objects.filter(
            rollout__in=rollouts, mode=AuditMode.FULL, mapping_values__isnull=False
        )
        .annotate(values_decided=since("decided"), rows_decided=since("rows_changed"))
        .order_by("rollout", "-id")
        .distinct("rollout")
    )
    return {
        audit.rollout_id: (
            (audit.mapping_values or 0) - (audit.mapping_reviewed or 0) - audit.values_decided,
            audit.categories.get("undecided", 0) - audit.rows_decided,
        )
        for audit in audits
    }


def _mismatches(may: May, reviewed: Container[int]) -> list[Waiting]:
    """Rows that an audit of a rollout found mismatched and nobody has waived.

    Where values are all that is wrong, the reviews of rollouts that have one say so already.
    """
    return [
        Waiting(
            audit.rollout,
            cure_of(audit),
            audit.actor_name,
            audit.finished_at or audit.started_at,
            cure_url(audit),
            gravity=Gravity.HARM,
        )
        for audit in audits_to_repair(rollout__environment__in=configured())
        if may("review_mapping" if asks_people(audit) else "repair_rows", audit.rollout)
        and not (asks_people(audit) and audit.rollout_id in reviewed)
    ]


def cure_of(audit: AuditReport) -> str:
    """``Repair 12 mismatched rows of audit 3``, or the decision that has to come first."""
    verb = "Decide about the values of" if asks_people(audit) else "Repair"
    return f"{verb} {mismatched_rows(audit)}"


def cure_url(audit: AuditReport) -> str:
    return decisions_url(audit.rollout) if asks_people(audit) else audit.get_absolute_url()


def audits_to_repair(**of_rollouts: object) -> list[AuditReport]:
    """Of each rollout the audit whose mismatched rows wait for people, if any does."""
    changes = MappingChange.objects.filter(
        rollout=OuterRef("rollout"), at__gt=OuterRef("started_at")
    )
    finished = AuditReport.objects.exclude(status=AuditStatus.RUNNING).defer("translations")
    newest = (
        finished.filter(**of_rollouts)
        .annotate(is_reviewed=Exists(changes))
        .select_related("rollout")
        .order_by("rollout", "mode", "-id")
        .distinct("rollout", "mode")
    )
    waiting = (
        to_repair(
            sorted(audits, key=lambda audit: audit.pk, reverse=True),
            is_reviewed_since=attrgetter("is_reviewed"),
        )
        for _rollout, audits in groupby(newest, key=lambda audit: audit.rollout_id)
    )
    return [audit for audit in waiting if audit is not None]


def mismatched_rows(audit: AuditReport) -> str:
    rows = counted(audit.mismatched - audit.waived, "mismatched row")
    return f"{rows} of audit {audit.pk}"


def _stopped_runs(runs: list[PhaseRun], may: May, before_retries: Container[int]) -> list[Waiting]:
    """Phases and repairs that stopped short or are paused; a rehearsal's are its own affair.

    Of rollouts ``before_retries`` the inbox says what comes before phase 2 is retried, and that.
    """
    of_rollouts: dict[int, list[PhaseRun]] = defaultdict(list)
    for run in runs:
        if run.rollout.environment in configured():
            of_rollouts[run.rollout_id].append(run)
    stops = [_stop_of(of_rollout) for of_rollout in of_rollouts.values()]
    return [
        Waiting(
            stop.run.rollout,
            stop.what,
            stop.run.actor_name,
            stop.run.stopped_at or stop.run.created_at,
            stop.run.get_absolute_url(),
            gravity=Gravity.HARM if stop.run.state == RunState.FAILED else Gravity.STANDSTILL,
        )
        for stop in stops
        if stop is not None and may(stop.permission, stop.run.rollout)
        if not (stop.run.rollout_id in before_retries and _is_failed_backfill(stop.run))
    ]


def _is_failed_backfill(run: PhaseRun) -> bool:
    is_backfill = run.phase == BACKFILL and run.direction == Direction.FORWARD
    return is_backfill and run.state == RunState.FAILED


def _stop_of(runs: list[PhaseRun]) -> Stop | None:
    """``runs`` are a rollout's, the oldest first."""
    repairs = [run for run in runs if run.direction == Direction.REPAIR]
    phases = {run.phase: run for run in runs if run.direction != Direction.REPAIR}
    return stop_of_rollout(phases, repairs[-1] if repairs else None)


def _page(name: str, rollout: Rollout, phase: int) -> str:
    return reverse(f"rollout:{name}", args=[rollout.plan, rollout.environment, phase])
