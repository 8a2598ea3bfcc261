"""By which path a row was written at some moment, as far as the journal tells."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from rollout.models import BackfillJob, Direction, Rollout, StepRun, StepState
from rollout.plan import plans
from rollout.plan.plan import Step


@dataclass(frozen=True)
class WritePath:
    """What wrote the table at a moment.

    ``step`` is the last that had changed the write path by then, forward or back; None: the
    application wrote as it always had. ``jobs`` were running on the table just then.
    """

    at: datetime
    step: Step | None
    phase: int | None
    direction: str
    jobs: list[BackfillJob]


def write_path_at(rollout: Rollout, table: str, at: datetime) -> WritePath:
    """The write path of a table, by its label, at a moment."""
    plan = plans.get(rollout.plan)
    changing = {
        (number, step.id): step
        for number, phase in enumerate(plan.phases)
        for step in phase.steps
        if step.changes_write_path
    }
    last = (
        StepRun.objects.filter(
            run__rollout=rollout,
            state=StepState.DONE,
            finished_at__lte=at,
            step__in=[step_id for _, step_id in changing],
        )
        .select_related("run")
        .order_by("-finished_at", "-pk")
        .first()
    )
    jobs = BackfillJob.objects.filter(
        Q(finished_at__gte=at) | Q(finished_at=None),
        step_run__run__rollout=rollout,
        table=table,
        created_at__lte=at,
    )
    if last is None:
        return WritePath(at, None, None, Direction.FORWARD, list(jobs))
    step = changing.get((last.run.phase, last.step))
    return WritePath(at, step, last.run.phase, last.run.direction, list(jobs))
