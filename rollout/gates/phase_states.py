"""The states of a rollout's phases, read from their newest runs."""

from collections.abc import Iterable, Mapping
from itertools import takewhile

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, OuterRef, When

from rollout.models import Direction, PhaseRun, Rollout, RunState, StepRun, StepState
from rollout.plan.plan import Plan

# The newest run of each phase, and the newest repair.
NewestRuns = tuple[dict[int, PhaseRun], PhaseRun | None]

_DONE = StepRun.objects.filter(run=OuterRef("pk"), state=StepState.DONE).order_by()


def newest_runs(rollout: Rollout) -> dict[int, PhaseRun]:
    """The newest run of each phase that has one. Repairs do not change a phase's state."""
    return newest_runs_and_repair(rollout)[0]


def newest_runs_and_repair(rollout: Rollout) -> NewestRuns:
    """The newest run of each phase, and the newest repair."""
    return newest_of_each([rollout])[rollout.pk]


def newest_of_each(rollouts: Iterable[Rollout]) -> dict[int, NewestRuns]:
    """The newest runs of several rollouts by key, from one query."""
    of_key = {rollout.pk: rollout for rollout in rollouts}
    newest = (
        PhaseRun.objects.filter(rollout__in=of_key)
        .annotate(
            repairs=Case(When(direction=Direction.REPAIR, then=True), default=False),
            done_steps=ArraySubquery(_DONE.values("step")),
        )
        .select_related("repair", "chain")
        .order_by("rollout", "repairs", "phase", "-id")
        .distinct("rollout", "repairs", "phase")
    )
    runs: dict[int, dict[int, PhaseRun]] = {key: {} for key in of_key}
    repairs: dict[int, list[PhaseRun]] = {key: [] for key in of_key}
    for run in newest:
        run.rollout = of_key[run.rollout_id]
        if run.direction == Direction.REPAIR:
            repairs[run.rollout_id].append(run)
        else:
            runs[run.rollout_id][run.phase] = run
    return {
        key: (runs[key], max(repairs[key], key=lambda run: run.pk, default=None)) for key in of_key
    }


def is_done(run: PhaseRun | None) -> bool:
    """Whether the phase is done whose newest run this is."""
    return run is not None and run.direction == Direction.FORWARD and run.state == RunState.DONE


def phases_done(runs: Mapping[int, PhaseRun]) -> int:
    """How many phases are done, counted from the first, by their newest runs."""
    done = 0
    while is_done(runs.get(done)):
        done += 1
    return done


def is_not_started(run: PhaseRun | None) -> bool:
    """Whether nothing of the phase is in the target whose newest run this is."""
    return run is None or (run.direction == Direction.BACKWARD and run.state == RunState.DONE)


def steps_done(plan: Plan, run: PhaseRun | None) -> int | None:
    """How many steps of the phase are done, from the first on, by its newest run.

    None if nothing of it is in the target. 0 if that is not known: while it is rolled back, and
    when the plan has changed since the run.
    """
    if run is None or is_not_started(run):
        return None
    if run.direction != Direction.FORWARD or run.plan_digest != plan.digest:
        return 0
    done: list[str] | None = getattr(run, "done_steps", None)
    if done is None:
        rows = run.steps.filter(state=StepState.DONE)
        done = list(rows.values_list("step", flat=True))
    return len(list(takewhile(lambda step: step.id in done, plan.phases[run.phase].steps)))


def started_after(runs: dict[int, PhaseRun], phase: int) -> list[int]:
    """The phases after ``phase`` of which something may be in the target, newest first."""
    return sorted((number for number in started_phases(runs) if number > phase), reverse=True)


def started_phases(runs: dict[int, PhaseRun]) -> list[int]:
    """The phases of which something may be in the target."""
    return [number for number, run in runs.items() if not is_not_started(run)]
