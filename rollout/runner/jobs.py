"""What people change about a backfill job: its throttle settings, a retry of rejected rows."""

from django.utils import timezone

from rollout import gates, journal, queue
from rollout.gates.starts import is_outdated
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import why_gone
from rollout.journal.events import Event
from rollout.journal.rollouts import refuse_out_of_reach
from rollout.logs.texts import counted
from rollout.models import (
    BackfillJob,
    Direction,
    RunState,
)
from rollout.plan.proofs import Proof


def set_pace(
    job: BackfillJob,
    *,
    target_ms: int,
    duty_percent: int,
    rows_per_second: int | None,
    workers: int,
    commit_limit_ms: int | None,
    actor: Actor,
    source: str = "web",
) -> None:
    """Change a job's pace from its next batch on. Raises Refused for values out of range."""
    if closed := why_gone(job.step_run.run.rollout.environment):
        raise Refused(closed)
    if not 10 <= target_ms <= 2000:
        raise Refused("The batch target must be 10 to 2,000 ms, for example 75.")
    if not 5 <= duty_percent <= 100:
        raise Refused("The duty cycle must be 5 to 100 %.")
    if rows_per_second is not None and not 1 <= rows_per_second <= 10_000_000:
        raise Refused("The row limit must be 1 to 10,000,000 rows per second, or none.")
    if commit_limit_ms is not None and not 1 <= commit_limit_ms <= 60_000:
        raise Refused("The commit latency limit must be 1 to 60,000 ms, or none.")
    if not 1 <= workers <= 32:
        raise Refused("The number of workers must be 1 to 32.")
    with journal.atomic():
        changed = BackfillJob.objects.filter(pk=job.pk, finished_at=None).update(
            target_ms=target_ms,
            duty_percent=duty_percent,
            rows_per_second=rows_per_second,
            workers=workers,
            commit_limit_ms=commit_limit_ms,
            paced_at=timezone.now(),
        )
        if not changed:
            raise Refused("The job has ended. Its throttle settings can no longer change.")
        activity_log.record(
            Event.PACE_CHANGED,
            f"Changed the throttle settings of {job.table}: {target_ms:,} ms/batch, "
            f"{duty_percent} % duty cycle, {counted(workers, 'worker')}, "
            + (f"at most {rows_per_second:,} rows per second, " if rows_per_second else "")
            + (
                "automatic commit latency limit."
                if commit_limit_ms is None
                else f"commit latency limit {commit_limit_ms:,} ms."
            ),
            on=job.step_run.run,
            actor=actor,
            source=source,
            job=job.pk,
            was_limited=job.rows_per_second is not None,
        )


def retry_quarantined(job: BackfillJob, *, actor: Actor, source: str = "web") -> None:
    """Queue a retry of the rows that the database refused. Raises Refused."""
    run = job.step_run.run
    refuse_out_of_reach(run.rollout)
    if job.kind == Proof.kind:
        raise Refused("A proof writes no rows. Correct the rows, then retry the phase.")
    if run.direction == Direction.REPAIR and is_outdated(run, gates.newest_runs(run.rollout)):
        raise Refused("The repair is out of date: a phase has run since. Start a new repair.")
    if run.active and run.state != RunState.PAUSED:
        raise Refused("The job is running. Pause it or wait for it to end, then retry its rows.")
    with journal.atomic():
        activity_log.record(
            Event.QUARANTINE_RETRY,
            f"Requested a retry of the quarantined rows of {job.table}.",
            on=run,
            actor=actor,
            source=source,
            job=job.pk,
        )
        queue.send_while_fresh("retry_quarantined", job.pk, actor.get_username())
