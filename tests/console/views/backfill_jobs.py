"""Backfill jobs of the journal, as their workers leave them."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from rollout.engine import quarantine
from rollout.models import BackfillJob, Rollout
from tests.console import journal
from tests.console.journal import ran, reached
from tests.support.rollouts import target


def a_job(rollout: Rollout, state: str = "running", **fields: object) -> BackfillJob:
    return journal.job_of(reached(ran(rollout, 2, state), "backfill", "running"), **fields)


def an_ended_job(rollout: Rollout, **fields: Any) -> BackfillJob:
    return journal.ended_job(reached(ran(rollout, 2), "backfill"), **fields)


def page_of(job: BackfillJob) -> str:
    return f"/rollout/jobs/{job.pk}/"


def a_lane(job: BackfillJob, **fields: Any) -> None:
    """A quarter of the job's blocks done by a worker that is at it."""
    values = {
        "job": job.pk,
        "lane": 0,
        "schema_name": "public",
        "relation": "properties",
        "first_block": 0,
        "end_block": 1000,
        "next_block": 250,
        "range_blocks": 8,
        "range_end": 258,
        "scanned": 6250,
        "updated": 6000,
        "working_seconds": 0.5,
        "holder": "host:7",
        "lease_until": timezone.now() + timedelta(seconds=60),
        **fields,
    }
    with target() as opened:
        opened.execute(
            f"INSERT INTO rollout.lanes ({', '.join(values)})"
            f" VALUES ({', '.join(['%s'] * len(values))})".encode(),
            list(values.values()),
        )


def measured(
    job: BackfillJob, buckets: int, *, lost: float = 0.0, scanned: int = 5000, earlier: int = 0
) -> None:
    """So many throughputs of a job, the last one two buckets ago, or so many earlier."""
    with target() as opened:
        opened.execute(
            "INSERT INTO rollout.throughputs SELECT %s, to_timestamp((floor("
            "extract(epoch FROM now()) / 5) - 2 - %s - n) * 5), %s, %s, 4.0, %s"
            " FROM generate_series(0, %s - 1) AS n",
            [job.pk, earlier, scanned, scanned, lost, buckets],
        )


def refused(job: BackfillJob, *keys: str, error: str = "no such kind") -> None:
    with target() as opened:
        for key in keys:
            quarantine.add(opened, job.pk, [key], error)


def end_beside(job: BackfillJob, rollout: Rollout) -> None:
    """A run with a job that ended, newer than the one of a job that is running."""
    run = job.step_run.run
    run.state, run.finished_at = "done", timezone.now()
    run.save()
    an_ended_job(rollout)
    run.state, run.finished_at = "running", None
    run.save()
