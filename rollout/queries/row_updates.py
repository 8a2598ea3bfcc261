"""Rows that have to follow what people decided about their values, as people read of them."""

from collections import defaultdict

from django.urls import reverse

from rollout.gates.row_updates import reviews_to_follow
from rollout.journal.environments import configured
from rollout.models import Direction, PhaseRun, RunState
from rollout.plan.plan import BACKFILL
from rollout.queries.waits import Gravity, May, Waiting, newest_of_phases


def updates_of(runs: list[PhaseRun], may: May) -> list[Waiting]:
    """Rows that hold what they did before a review, where a run can write them now; the oldest
    review first."""
    of_rollouts: dict[int, dict[int, PhaseRun]] = defaultdict(dict)
    for (rollout, phase), newest in newest_of_phases(runs).items():
        of_rollouts[rollout][phase] = newest
    busy = {run.rollout_id for run in runs if run.active}
    filled = {
        rollout: phases
        for rollout, phases in of_rollouts.items()
        if (run := phases.get(BACKFILL)) is not None
        and run.direction == Direction.FORWARD
        and rollout not in busy
        and run.rollout.environment in configured()
        and may("repair_rows", run.rollout)
    }
    reviews = reviews_to_follow(filled) if filled else {}
    return [
        Waiting(
            change.rollout,
            f"{change.to_update} of {change.table}"
            f"{f', then retry phase {BACKFILL}' if is_failed else ''}",
            change.reviewer,
            change.at,
            reverse("rollout:correct", args=[change.pk]),
            comment="They hold what they did before people decided about their values.",
            gravity=Gravity.HARM,
        )
        for rollout, changes in reviews.items()
        for is_failed in [filled[rollout][BACKFILL].state == RunState.FAILED]
        for change in reversed(changes)
    ]
