"""A journal of phases and audits that gates are asked about."""

from datetime import timedelta

from django.utils import timezone

from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    PhaseRun,
    Rollout,
    RunState,
    StepRun,
)

NOW = timezone.now()

MINUTE = timedelta(minutes=1)


def phase_run(
    rollout: Rollout,
    phase: int,
    state: RunState = RunState.DONE,
    direction: Direction = Direction.FORWARD,
) -> PhaseRun:
    run = rollout.runs.create(
        phase=phase, state=state, direction=direction, actor_name="ada", finished_at=NOW
    )
    run.created_at = NOW
    run.save(update_fields=["created_at"])
    return run


def step_run(run: PhaseRun, step: str, ended: timedelta) -> StepRun:
    return StepRun.objects.create(
        run=run,
        step=step,
        position=run.steps.count(),
        state="done",
        started_at=NOW + ended - timedelta(seconds=1),
        finished_at=NOW + ended,
    )


def backfilled(rollout: Rollout) -> PhaseRun:
    """Phases 0 to 2 are done; the last step that changes what is written ended just now."""
    phase_run(rollout, 0)
    phase_run(rollout, 1)
    run = phase_run(rollout, 2)
    for name, table, kind, rows in (
        ("backfill-images", "property_images", "compute", 3),
        ("backfill", "properties", "fill", 10),
    ):
        BackfillJob.objects.create(
            step_run=step_run(run, name, timedelta()),
            position=2,
            table=table,
            kind=kind,
            blocks=1,
            estimated_rows=rows,
            stripes=1,
            scanned=rows,
            finished_at=NOW,
        )
    return run


def audit(rollout: Rollout, status: AuditStatus, at: timedelta, **fields: object) -> AuditReport:
    return AuditReport.objects.create(
        rollout=rollout, status=status, started_at=NOW + at, finished_at=NOW + at, **fields
    )
