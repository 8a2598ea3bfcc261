"""What people change about a backfill job: its pace, and another try for refused rows."""

from rollout import gates, journal, queue
from rollout.gates.starts import is_outdated
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import why_gone
from rollout.journal.events import Event
from rollout.journal.rollouts import refuse_out_of_reach
from rollout.models import (
    BackfillJob,
    RunState,
    Way,
)
from rollout.plan.actions import Proof


def set_pace(
    job: BackfillJob,
    *,
    target_ms: int,
    duty_percent: int,
    workers: int,
    actor: Actor,
    source: str = "web",
) -> None:
    """Change how fast a job goes, from its next batch on. Raises Refused on values out of range."""
    if closed := why_gone(job.step_run.run.rollout.environment):
        raise Refused(closed)
    if not 10 <= target_ms <= 2000:
        raise Refused("A batch may aim at 10 to 2,000 ms. 75 is a good start.")
    if not 5 <= duty_percent <= 100:
        raise Refused("Batches may run in 5 to 100 percent of the time.")
    if not 1 <= workers <= 32:
        raise Refused("1 to 32 workers may share a job.")
    with journal.atomic():
        changed = BackfillJob.objects.filter(pk=job.pk, finished_at=None).update(
            target_ms=target_ms, duty_percent=duty_percent, workers=workers
        )
        if not changed:
            raise Refused("The job has ended: its pace cannot change any more.")
        activity_log.record(
            Event.PACE_CHANGED,
            f"Batches of {job.table} aim at {target_ms} ms in {duty_percent} % of the time, with "
            f"{workers} workers.",
            on=job.step_run.run,
            actor=actor,
            source=source,
        )


def retry_quarantined(job: BackfillJob, *, actor: Actor, source: str = "web") -> None:
    """Have the rows that the database refused tried once more. Raises Refused."""
    run = job.step_run.run
    refuse_out_of_reach(run.rollout)
    if job.kind == Proof.kind:
        raise Refused("A proof writes no row. Put the rows right, then retry the phase.")
    if run.way == Way.REPAIR and is_outdated(run, gates.newest_runs(run.rollout)):
        raise Refused("More has been carried out since that repair. Start a new one.")
    if run.active and run.state != RunState.PAUSED:
        raise Refused("The job is at work. Retry its refused rows when it has ended or is paused.")
    with journal.atomic():
        activity_log.record(
            Event.QUARANTINE_RETRY,
            f"Had the refused rows of {job.table} tried again.",
            on=run,
            actor=actor,
            source=source,
        )
        queue.send_while_fresh("retry_quarantined", job.pk, actor.get_username())
