"""Earlier jobs of a step: how many rows, how fast, when, by whom."""

from collections import defaultdict

from django.db.models import QuerySet

from rollout.models import BackfillJob, Direction, PhaseRun, Rollout

# Maximum shown for a phase or beside a job; the list of jobs has the rest.
MAX_EARLIER_JOBS = 20


def before_job(job: BackfillJob) -> list[BackfillJob]:
    """The jobs that were made for the same action before this one, newest first.

    Of a repair they are the repairs of the same table.
    """
    run = job.step_run.run
    return list(
        jobs_of(run.rollout).filter(
            step_run__run__phase=run.phase,
            step_run__step=job.step_run.step,
            step_run__run__direction=run.direction,
            table=job.table,
            position=job.position,
            pk__lt=job.pk,
        )[:MAX_EARLIER_JOBS]
    )


def by_step(rollout: Rollout, phase: int, newest: PhaseRun | None) -> dict[str, list[BackfillJob]]:
    """The jobs of a phase's steps in runs before the newest one; step id to jobs."""
    steps: dict[str, list[BackfillJob]] = defaultdict(list)
    if newest is not None:
        of_phase = jobs_of(rollout).filter(step_run__run__phase=phase)
        of_phase = of_phase.exclude(step_run__run__direction=Direction.REPAIR)
        for job in of_phase.exclude(step_run__run=newest)[:MAX_EARLIER_JOBS]:
            steps[job.step_run.step].append(job)
    return steps


def jobs_of(rollout: Rollout) -> QuerySet[BackfillJob]:
    """A rollout's jobs with their runs, newest first."""
    return BackfillJob.objects.filter(step_run__run__rollout=rollout).select_related(
        "step_run__run"
    )
