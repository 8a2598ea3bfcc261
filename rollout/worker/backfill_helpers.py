"""Other workers' part in a job: they hold lanes for a slice of time."""

import time

from rollout import journal, logs
from rollout.engine.control import Interrupted
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection, TargetAway
from rollout.journal import activity_log
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.models import BackfillJob, Direction, PhaseRun, RunState
from rollout.plan import plans
from rollout.plan.actions import Compute, Fill, Pass
from rollout.worker import backfills, quarantines, repairs


class Assistant:
    """The control of a helping worker: it stops as soon as the run is not running."""

    def __init__(self, run_id: int) -> None:
        self._run_id = run_id
        self._looked = 0.0

    def raise_if_stopped(self) -> None:
        now = time.monotonic()
        if now - self._looked > 0.3:
            self._looked = now
            state = PhaseRun.objects.filter(pk=self._run_id).values_list("state", flat=True).get()
            if state != RunState.RUNNING:
                raise Interrupted(f"The run is {state}.")

    def report_wait(self, reason: str) -> None:
        """The worker that holds the run tells people what it waits for."""

    def report_activity(self, activity: StatementActivity | None) -> None:
        """An assistant runs no statement of a step."""

    def attach(self, connection: Connection) -> None:
        """An assistant's batches are short: nobody cancels them."""


def _job(job_id: int) -> BackfillJob:
    return BackfillJob.objects.select_related("step_run__run__rollout").get(pk=job_id)


def action_of(job: BackfillJob) -> Pass:
    """The action of the plan that a job runs. Raises UnknownPlan, KeyError, IndexError."""
    run = job.step_run.run
    plan = plans.get(run.rollout.plan)
    if run.direction == Direction.REPAIR:
        step = repairs.step_of(run)
    else:
        step = plan.step(run.phase, job.step_run.step)
    step_actions = (
        plan.backward(step) if run.direction == Direction.BACKWARD else plan.forward(step)
    )
    action = step_actions.actions[job.position]
    assert isinstance(action, Pass)
    return action


def assist(job_id: int, until: float) -> None:
    """Work on a job's free lanes until a moment of the wall clock, if the job still runs."""
    seconds = until - time.time()
    if seconds <= 0:
        return
    job = _job(job_id)
    run = job.step_run.run
    control = Assistant(run.pk)
    try:
        control.raise_if_stopped()
        with (
            logs.bound(**run.log_fields(), step=job.step_run.step, job=job.pk),
            target_of(run.rollout.environment).connect() as connection,
        ):
            worker = backfills.worker_of(connection, action_of(job), job, control)
            backfills.run_lanes(worker, job, until=time.monotonic() + seconds, wait=False)
    except (Interrupted, TargetAway):
        # The worker that holds the run says so.
        return


def retry_quarantined(job_id: int, actor_name: str) -> None:
    """Retry the rows that the database refused."""
    job = _job(job_id)
    run = job.step_run.run
    action = action_of(job)
    assert isinstance(action, Fill | Compute), "others have no rows in quarantine"
    try:
        with target_of(run.rollout.environment).connect() as connection:
            written = quarantines.retry_quarantined(connection, action, job)
            with journal.atomic():
                if job.finished_at is not None:
                    written = quarantines.follow_quarantine(connection, job)
                _record_retry(
                    job,
                    f"Wrote {written:,} quarantined rows of {job.table}.",
                    *(written, actor_name),
                )
    except TargetAway as error:
        _record_retry(
            job, f"The quarantined rows of {job.table} were not retried. {error}", 0, actor_name
        )


def _record_retry(job: BackfillJob, message: str, written: int, actor_name: str) -> None:
    run = job.step_run.run
    activity_log.record(
        Event.QUARANTINE_RETRIED,
        message,
        on=run,
        actor=actor_name,
        source="worker",
        job=job.pk,
        written=written,
    )
