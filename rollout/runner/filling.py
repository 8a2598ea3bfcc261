"""Carries a fill action on: its job in the journal, its lanes in the target, its final sweep."""

import time

from django.db import transaction
from django.utils import timezone

from rollout import heartbeats, log
from rollout.engine import backfill
from rollout.engine.control import Control
from rollout.engine.target import Connection
from rollout.models import BackfillJob, StepRun
from rollout.plan.actions import Fill

ROUNDS = 5
"""A row can be missed only while somebody holds it; so many passes over the rest must do."""


class RowsRemain(Exception):
    """Rows are still not right after every round."""


def job_of(connection: Connection, fill: Fill, step_run: StepRun, position: int) -> BackfillJob:
    """The journal's job for a fill action, and its lanes, made where they are absent."""
    job = BackfillJob.objects.filter(step_run=step_run, position=position).first()
    if job is None:
        chosen = backfill.choose(connection, fill)
        job = BackfillJob.objects.create(
            step_run=step_run,
            position=position,
            table=fill.table.label,
            kind=fill.kind,
            blocks=chosen.blocks,
            estimated_rows=chosen.estimated_rows,
            stripes=chosen.stripes,
            explanation=chosen.explanation,
        )
    backfill.create_lanes(connection, job.pk, job.blocks)
    return job


def carry_on(
    connection: Connection,
    fill: Fill,
    step_run: StepRun,
    position: int,
    *,
    until: float,
    control: Control,
) -> str | None:
    """Work on a fill until a moment of the monotonic clock.

    A sentence of its counts when the final sweep found nothing left, None when time ran out first.
    Raises Interrupted, RowsRemain and psycopg.Error.
    """
    job = job_of(connection, fill, step_run, position)
    if job.finished_at is not None:
        # A worker died between the end of the job and the end of its step.
        return _finished(connection, job)
    backfill.prepare_session(connection)
    control.using(connection)
    while not backfill.is_finished(connection, job.pk):
        lane = backfill.claim(connection, job.pk, heartbeats.process_name())
        if lane is None:
            control.waiting("a lane that another worker held until a moment ago")
            control.check()
            time.sleep(0.5)
        else:
            control.waiting("")
            try:
                backfill.work(
                    connection,
                    fill,
                    lane,
                    stripes=job.stripes,
                    seconds=until - time.monotonic(),
                    control=control,
                )
            finally:
                if not connection.closed:
                    backfill.release(connection, lane)
        if time.monotonic() >= until:
            return None
    left = backfill.count_unfilled(connection, fill)
    if left:
        _again(connection, fill, job, left)
        return None
    return _finish(connection, job, step_run)


def _again(connection: Connection, fill: Fill, job: BackfillJob, left: int) -> None:
    if job.rounds >= ROUNDS:
        raise RowsRemain(
            f"{left:,} rows of {job.table} are still not right after {job.rounds} passes. Start an "
            "audit: its report shows them and why. Then retry the phase."
        )
    job.rounds += 1
    job.save(update_fields=["rounds"])
    backfill.another_round(connection, job.pk, backfill.blocks_of(connection, fill))


def _finish(connection: Connection, job: BackfillJob, step_run: StepRun) -> str:
    totals = backfill.totals(connection, job.pk)
    job.scanned, job.updated = totals.scanned, totals.updated
    job.already_right = totals.scanned - totals.updated
    job.working_seconds = totals.working_seconds
    job.finished_at = timezone.now()
    run = step_run.run
    with transaction.atomic():
        job.save(
            update_fields=["scanned", "updated", "already_right", "working_seconds", "finished_at"]
        )
        log.record(
            "backfill done",
            f"{job.kind.capitalize()} of {job.table}: {job.scanned:,} rows scanned, "
            f"{job.updated:,} updated, {job.already_right:,} already right; the final sweep found "
            "none left.",
            actor=run.actor_name,
            source="worker",
            rollout=run.rollout,
            phase=run.phase,
            data={
                "job": job.pk,
                "scanned": job.scanned,
                "updated": job.updated,
                "already_right": job.already_right,
                "rounds": job.rounds,
                "working_seconds": round(job.working_seconds, 3),
            },
        )
    return _finished(connection, job)


def _finished(connection: Connection, job: BackfillJob) -> str:
    backfill.forget(connection, job.pk)
    return f"{job.updated:,} of {job.scanned:,} rows written; the final sweep found none left."
