"""Runs that no worker made: adopted, rolled back by hand, restored with a snapshot."""

from collections.abc import Callable, Iterable

from rollout.journal import scheduled_starts
from rollout.journal.moments import by_the_database
from rollout.models import Direction, PhaseRun, Rollout, RunState, StepRun, StepState
from rollout.plan.plan import Step


def record_run(
    rollout: Rollout,
    phase: int,
    direction: Direction,
    *,
    steps: Iterable[Step],
    result: Callable[[Step], str],
    actor_name: str,
    source: str,
    plan_digest: str,
    interrupted: str = "",
) -> PhaseRun:
    """Write down a run that is done, with the result of each step.

    ``interrupted`` says why it is half done instead: it was cancelled, and a retry asks the catalog
    for each step again.
    """
    now = by_the_database()
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        direction=direction,
        state=RunState.CANCELLED if interrupted else RunState.DONE,
        actor_name=actor_name,
        plan_digest=plan_digest,
        started_at=now,
        finished_at=now,
        error=interrupted,
        advice="Retry the phase, or roll it back." if interrupted else "",
    )
    StepRun.objects.bulk_create(
        StepRun(
            run=run,
            step=step.id,
            position=position,
            state=StepState.FAILED if interrupted else StepState.DONE,
            attempts=1,
            started_at=now,
            finished_at=now,
            result="" if interrupted else result(step),
            checksum="" if interrupted else step.checksum,
        )
        for position, step in enumerate(steps)
    )
    scheduled_starts.overtake(run, actor=actor_name, source=source)
    return run
