"""Answers a plan's gates from the journal, each with its evidence and the next thing to do."""

from dataclasses import dataclass
from datetime import datetime

from rollout import drift, holds, snapshots
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    BackfillJob,
    MappingChange,
    PhaseRun,
    Repair,
    Rollout,
    RunState,
    StepRun,
    Way,
)
from rollout.plan.gates import (
    Answer,
    AuditClean,
    BackfillComplete,
    EarlierPhaseDone,
    Gate,
    NoDrift,
    NoRuleHolds,
    SnapshotVerified,
)
from rollout.plan.plan import Plan
from rollout.plan.step import BACKFILL


@dataclass(frozen=True)
class GateStatus:
    """A gate's answer. Unknown is never a pass."""

    name: str
    status: Answer
    message: str


def newest_runs(rollout: Rollout) -> dict[int, PhaseRun]:
    """The newest run of each phase that has one. Where a phase stands no repair changes."""
    runs = (
        PhaseRun.objects.filter(rollout=rollout)
        .exclude(way=Way.REPAIR)
        .order_by("phase", "-id")
        .distinct("phase")
    )
    return {run.phase: run for run in runs}


def is_done(run: PhaseRun | None) -> bool:
    """Whether a phase whose newest run this is stands as done."""
    return run is not None and run.way == Way.FORWARD and run.state == RunState.DONE


def is_untouched(run: PhaseRun | None) -> bool:
    """Whether nothing of a phase whose newest run this is remains in the target."""
    return run is None or (run.way == Way.BACKWARD and run.state == RunState.DONE)


def answer(
    gate: Gate, *, number: int, rollout: Rollout, plan: Plan, runs: dict[int, PhaseRun]
) -> GateStatus:
    """The answer to a gate before a phase."""
    match gate:
        case EarlierPhaseDone():
            return _earlier_phase(number, runs)
        case NoRuleHolds():
            return GateStatus(gate.name, *holds.answer(rollout))
        case BackfillComplete():
            return _backfill(rollout, plan, runs)
        case AuditClean():
            return _audit(rollout, plan)
        case NoDrift():
            begun = not is_untouched(runs.get(number))
            return GateStatus(
                gate.name, *drift.answer(rollout, plan, number, runs.get(number), under_way=begun)
            )
        case SnapshotVerified(fresh_for=fresh_for):
            status, message = snapshots.answer(
                rollout,
                number=number,
                before=runs.get(number - 1),
                changed=lambda: last_write_path_change(rollout, plan),
                fresh_for=fresh_for,
            )
            return GateStatus(gate.name, status, message)


def _earlier_phase(number: int, runs: dict[int, PhaseRun]) -> GateStatus:
    name = EarlierPhaseDone.name
    run = runs.get(number - 1)
    if is_done(run):
        assert run is not None
        return GateStatus(
            name, "pass", f"Phase {number - 1} is done since {run.finished_at:%Y-%m-%d %H:%M} UTC."
        )
    if is_untouched(run):
        return GateStatus(
            name, "fail", f"Phase {number - 1} has not been carried out. Start it first."
        )
    assert run is not None
    return GateStatus(
        name,
        "fail",
        f"Phase {number - 1} is {run.get_state_display().lower()}. Bring it to its end first.",
    )


def _backfill(rollout: Rollout, plan: Plan, runs: dict[int, PhaseRun]) -> GateStatus:
    name = BackfillComplete.name
    run = runs.get(BACKFILL)
    if not is_done(run):
        return GateStatus(
            name, "fail", "The backfill has not come to its end. Carry out phase 2 first."
        )
    jobs = BackfillJob.objects.filter(
        step_run__run=run, kind__in=("fill", "compute"), finished_at__isnull=False
    )
    finished = {(job.table, job.kind) for job in jobs}
    for table in plan.backfilled_tables:
        needed = {"fill": plan.translations_of(table), "compute": plan.computed_of(table)}
        for kind, translations in needed.items():
            if translations and (table.label, kind) not in finished:
                return GateStatus(
                    name,
                    "unknown",
                    f"There is no finished {kind} of {table.label}. Roll phase 2 back and start it "
                    "again.",
                )
    rows = sum(job.scanned for job in jobs)
    return GateStatus(
        name, "pass", f"The final sweep found no row left; {rows:,} rows were scanned."
    )


def last_write_path_change(rollout: Rollout, plan: Plan) -> StepRun | None:
    """The newest step, either way, after which what is written is another than before."""
    ids = [step.id for phase in plan.phases for step in phase.steps if step.changes_write_path]
    return (
        StepRun.objects.filter(run__rollout=rollout, step__in=ids, started_at__isnull=False)
        .order_by("-started_at")
        .first()
    )


def _changed_since(rollout: Rollout, moment: datetime) -> str:
    """What people had done to the mapping or to rows since then; empty where nothing was."""
    change = MappingChange.objects.filter(rollout=rollout, at__gt=moment).first()
    if change is not None:
        return (
            f"{change.reviewer}'s review of {change.table}.{change.legacy_column} "
            f"({change.at:%Y-%m-%d %H:%M:%S} UTC)"
        )
    begun = Repair.objects.filter(run__rollout=rollout, run__steps__isnull=False)
    repair = begun.filter(run__finished_at__gt=moment).first()
    return "" if repair is None else f"the {repair}"


def _audit(rollout: Rollout, plan: Plan) -> GateStatus:
    name = AuditClean.name
    report = (
        AuditReport.objects.filter(rollout=rollout, mode=AuditMode.FULL, tables=[])
        .exclude(status=AuditStatus.RUNNING)
        .first()
    )
    if report is None:
        return GateStatus(name, "unknown", "There is no full audit yet. Start one.")
    at = f"{report.started_at:%Y-%m-%d %H:%M:%S} UTC"
    if report.status == AuditStatus.INCONCLUSIVE:
        return GateStatus(
            name, "unknown", f"The audit of {at} is inconclusive: {report.message} Start another."
        )
    if report.status == AuditStatus.MISMATCHED:
        return GateStatus(
            name,
            "fail",
            f"The audit of {at} found {report.mismatched:,} mismatched rows. Look at its report.",
        )
    change = last_write_path_change(rollout, plan)
    changed_at = (change.finished_at or change.started_at) if change else None
    if change is not None and changed_at is not None and changed_at > report.started_at:
        return GateStatus(
            name,
            "fail",
            f"The clean audit of {at} is older than step {change.step}, which changed what is "
            "written. Start a new audit.",
        )
    later = _changed_since(rollout, report.started_at)
    if later:
        return GateStatus(
            name, "fail", f"The clean audit of {at} is older than {later}. Start a new audit."
        )
    if report.waived:
        return GateStatus(
            name,
            "pass",
            f"The audit of {at} compared {report.rows:,} rows; {report.waived:,} mismatch and are "
            "accepted by name.",
        )
    return GateStatus(
        name, "pass", f"The audit of {at} compared {report.rows:,} rows and found no mismatch."
    )
