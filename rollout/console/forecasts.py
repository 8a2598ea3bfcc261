"""What a phase's passes over tables will be like: the planner's choice and the newest estimate."""

from dataclasses import dataclass

from rollout.engine import planner
from rollout.engine.planner import FillPlan
from rollout.engine.target import TargetAway
from rollout.journal.environments import target_of
from rollout.models import BackfillEstimate
from rollout.plan.plan import Step
from rollout.queries.status import RolloutStatus
from rollout.worker.estimates import Pass, columns_exist, passes_of


@dataclass(frozen=True)
class Forecast:
    """A pass to come. ``chosen`` is None while the columns that it writes are not there."""

    step: Step
    kind: str
    table: str
    chosen: FillPlan | None
    estimate: BackfillEstimate | None


def forecasts(status: RolloutStatus, number: int) -> list[Forecast]:
    """The passes of a phase that has not begun, by a few looks at the target's catalog."""
    passes = passes_of(status.plan, number) if status.phases[number].state == "pending" else []
    if not passes:
        return []
    newest = {
        (estimate.step, estimate.position): estimate
        for estimate in BackfillEstimate.objects.filter(rollout=status.rollout, phase=number)
        .order_by("step", "position", "-id")
        .distinct("step", "position")
    }
    try:
        chosen = _chosen(status, passes)
    except TargetAway:
        # The gates of the same page say so.
        chosen = [None] * len(passes)
    return [
        Forecast(
            step=scan.step,
            kind=scan.action.kind,
            table=scan.action.table.label,
            chosen=plan,
            estimate=newest.get((scan.step.id, scan.position)),
        )
        for scan, plan in zip(passes, chosen, strict=True)
    ]


def _chosen(status: RolloutStatus, passes: list[Pass]) -> list[FillPlan | None]:
    with target_of(status.rollout.environment).connect_briefly() as connection:
        actions = [scan.action for scan in passes]
        return [
            planner.choose(connection, action) if there else None
            for action, there in zip(actions, columns_exist(connection, *actions), strict=True)
        ]
