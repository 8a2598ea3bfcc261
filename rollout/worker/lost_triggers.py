"""Triggers of an open phase that somebody dropped or disabled.

Without them the application's writes go to one side only, and a backfill would leave rows behind. A
phase that misses one stops; its retry creates it again.
"""

from django.db.models import F

from rollout import gates
from rollout.engine import catalog
from rollout.engine.catalog import Drift
from rollout.engine.target import Connection
from rollout.models import BackfillJob, Direction, PhaseRun, StepRun, StepState
from rollout.plan.catalog import Part
from rollout.plan.errors import RolloutError
from rollout.plan.expected_catalogs import step_that_made
from rollout.plan.plan import Plan


class TriggersLost(RolloutError):
    """A phase misses a trigger; the message names it, and ``advice`` says what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def refuse_lost(connection: Connection, run: PhaseRun, plan: Plan) -> None:
    """Raises TriggersLost, after marking the steps that create the triggers to be done again."""
    lost = find_lost(connection, run, plan)
    if not lost:
        return
    named = "; ".join(map(str, lost))
    again = f"{named}. Rows written since may be up to date on one side only."
    if do_again(run, plan, lost):
        raise TriggersLost(again, "Retry: that recreates it and processes the rows again.")
    raise TriggersLost(
        again,
        "An earlier phase created it: run that phase's script, which redoes only what is missing "
        f"(manage.py rollout sql {plan.name} PHASE), then retry.",
    )


def find_lost(connection: Connection, run: PhaseRun, plan: Plan) -> list[Drift]:
    """The triggers that a run has created and that are missing or disabled."""
    if run.direction != Direction.FORWARD:
        return []
    live = catalog.read_triggers(connection, catalog.labels_of(plan))
    drifts = catalog.compare(
        plan, phases_done=run.phase, live=live, steps_done=gates.steps_done(plan, run)
    )
    return [drift for drift in drifts if drift.kind == "trigger" and drift.is_wanted]


def do_again(run: PhaseRun, plan: Plan, lost: list[Drift]) -> bool:
    """Have the run's next attempt create them and process the rows; whether this phase can."""
    made_by = [
        step_that_made(plan, run.phase, drift.table, Part(drift.kind, drift.column))
        for drift in lost
    ]
    numbers = [number for number in made_by if number is not None]
    if len(numbers) < len(lost):
        return False
    # All that was done since, too: texts that were written meanwhile have no mapping.
    steps = [step.id for step in plan.phases[run.phase].steps[min(numbers) :]]
    rows = StepRun.objects.filter(run=run, step__in=steps)
    rows.update(state=StepState.FAILED, actions_done=0, result="")
    ended = BackfillJob.objects.filter(step_run__in=rows, finished_at__isnull=False)
    ended.update(finished_at=None, rounds=F("rounds") + 1)
    return True
