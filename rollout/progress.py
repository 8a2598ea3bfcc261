"""How far a backfill job is, from its lanes in the target; a finished one's from the journal."""

from dataclasses import dataclass

from rollout.engine import backfill
from rollout.environments import target_of
from rollout.models import BackfillJob


@dataclass(frozen=True)
class JobProgress:
    """Rows and speed of a job. ``fraction`` is of the table's blocks, from 0 to 1."""

    scanned: int
    updated: int
    fraction: float
    rows_per_second: float
    seconds_left: float | None
    round: int
    done: bool
    waiting_for: str
    workers: tuple[str, ...] = ()

    @property
    def already_right(self) -> int:
        return self.scanned - self.updated


def progress_of(job: BackfillJob) -> JobProgress:
    """Read a job's progress. ``job.step_run.run.rollout`` is best selected along with the job."""
    if job.finished_at is not None:
        return JobProgress(
            scanned=job.scanned,
            updated=job.updated,
            fraction=1.0,
            rows_per_second=job.scanned / job.working_seconds if job.working_seconds else 0.0,
            seconds_left=0.0,
            round=job.rounds,
            done=True,
            waiting_for="",
        )
    with target_of(job.step_run.run.rollout.environment).connect() as connection:
        totals = backfill.totals(connection, job.pk)
    left = (1 - totals.fraction) * job.estimated_rows
    return JobProgress(
        scanned=totals.scanned,
        updated=totals.updated,
        fraction=totals.fraction,
        rows_per_second=totals.rows_per_second,
        seconds_left=left / totals.rows_per_second if totals.rows_per_second else None,
        round=totals.round,
        done=False,
        waiting_for=job.step_run.waiting_for,
        workers=totals.holders,
    )
