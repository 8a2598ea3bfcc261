"""Requests estimates of a phase's passes over tables."""

from datetime import timedelta

from django.utils import timezone

from rollout import gates, journal, queue
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, plan_of, refuse_out_of_reach
from rollout.models import BackfillEstimate, Rollout
from rollout.worker.estimates import passes_of

# An estimate without a result after this time may be requested again.
MAX_WAIT = timedelta(minutes=2)


def ask_for(rollout: Rollout, phase: int, *, actor: Actor, source: str = "web") -> None:
    """Have every pass of a phase estimated that has not started. Raises Refused."""
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    passes = passes_of(plan, phase)
    if not passes:
        raise Refused(f"Phase {phase} has no backfill to estimate.")
    with journal.atomic():
        Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk)
        if not gates.is_not_started(gates.newest_runs(rollout).get(phase)):
            raise Refused(f"Phase {phase} has started. Its page shows its actual progress.")
        if active_run(rollout) is not None:
            raise Refused(
                "Another phase is running and would skew the estimate. Wait for it to end."
            )
        asked = BackfillEstimate.objects.filter(rollout=rollout, phase=phase)
        if any(map(is_waiting, asked.filter(finished_at=None))):
            raise Refused("An estimate is already running. Wait for its result.")
        for table_pass in passes:
            estimate = BackfillEstimate.objects.create(
                rollout=rollout,
                phase=phase,
                step=table_pass.step.id,
                position=table_pass.position,
                table=table_pass.action.table.label,
                actor_name=actor.get_username(),
            )
            queue.send_while_fresh("estimate", estimate.pk)
        activity_log.record(
            Event.ESTIMATE_ASKED_FOR,
            f"Requested an estimate of phase {phase}; its sample is rolled back.",
            on=rollout,
            phase=phase,
            actor=actor,
            source=source,
        )


def is_waiting(estimate: BackfillEstimate) -> bool:
    """Whether an estimate has no result yet."""
    return estimate.finished_at is None and estimate.created_at > timezone.now() - MAX_WAIT
