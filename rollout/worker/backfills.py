"""Runs a fill, compute or proof action: its job in the journal, its lanes, its final sweep."""

import logging
import time

from django.utils import timezone
from django.utils.module_loading import import_string

from rollout import journal, logs, queue
from rollout.conf import setting
from rollout.engine import (
    backfill,
    column_statistics,
    copy_batches,
    lane_totals,
    lanes,
    planner,
    quarantine,
)
from rollout.engine.control import Control, pause
from rollout.engine.health import Signal, read_signals
from rollout.engine.lane_totals import Totals
from rollout.engine.pace import Pace, Settings
from rollout.engine.pace_records import PaceRecord
from rollout.engine.preflight.triggers import swallowing_triggers
from rollout.engine.target import Connection, fetch_bool
from rollout.engine.wal_compression import SessionCompression
from rollout.journal import activity_log, heartbeats
from rollout.journal.environments import configured, is_protected
from rollout.journal.events import Event
from rollout.journal.labels import job_label
from rollout.logs.texts import counted
from rollout.models import (
    BackfillJob,
    Direction,
    Heartbeat,
    LogCheck,
    PhaseRun,
    RuleState,
    StepRun,
    WatchedTime,
)
from rollout.plan.actions import Compute, Fill, Pass
from rollout.plan.copies import Copy
from rollout.plan.csv_tasks import CsvTask
from rollout.plan.errors import RolloutError
from rollout.plan.proofs import Proof
from rollout.plan.table import Table
from rollout.telemetry.signals import application_signals
from rollout.worker import proofs
from rollout.worker.quarantines import retry_quarantined

_log = logging.getLogger(__name__)

# Passes over the rest in each attempt: a row is missed only while somebody holds it.
MAX_ROUNDS = 5
# Up to this number rejected rows never stop a job, however small its table.
MIN_POISON_ROWS = 50

# What our processes write row by row, all the time. What the application writes of the journal,
# many rows at once, is not among it.
_KEPT_UP = (Heartbeat, WatchedTime, LogCheck, RuleState, PhaseRun, StepRun)
_OWN_TABLES = (*(model._meta.db_table for model in _KEPT_UP), queue.TABLE)


class RowsRemain(RolloutError):
    """Rows are still incorrect after every round."""


class NoCsvFile(RolloutError):
    """The file that a step works on was removed after its phase started."""


class LiveSettings:
    """A job's settings as people have them now, read again about twice a second."""

    def __init__(self, job: BackfillJob) -> None:
        self._job = job
        self._read_at = float("-inf")
        self._settings = Settings()

    def __call__(self) -> Settings:
        now = time.monotonic()
        if now - self._read_at > 0.5:
            self._read_at = now
            self._job.refresh_from_db(
                fields=[
                    *("target_ms", "duty_percent", "rows_per_second", "commit_limit_ms", "workers")
                ]
            )
            rows = self._job.rows_per_second
            self._settings = Settings(
                target_seconds=self._job.target_ms / 1000,
                duty=self._job.duty_percent / 100,
                rows_per_second=rows and rows / self._job.workers,
                commit_limit_ms=self._job.commit_limit_ms,
            )
        return self._settings


def job_of(connection: Connection, action: Pass, step_run: StepRun, position: int) -> BackfillJob:
    """The journal's job for an action, and its lanes, made where they are absent."""
    job = BackfillJob.objects.filter(step_run=step_run, position=position).first()
    if job is None:
        chosen = planner.choose(connection, action)
        job = BackfillJob.objects.create(
            step_run=step_run,
            position=position,
            table=action.table.label,
            kind=action.kind,
            blocks=chosen.blocks,
            estimated_rows=chosen.estimated_rows,
            stripes=chosen.stripes,
            explanation=chosen.explanation,
            rows_per_second=_rows_per_second(action, step_run.run),
            most_poison_rows=0
            if isinstance(action, Proof | Copy)
            else max(MIN_POISON_ROWS, int(chosen.estimated_rows * action.poison_share)),
        )
    if isinstance(action, Proof) and job.finished_at is not None and job.quarantined:
        proofs.begin_again(connection, job)
    if job.finished_at is None:
        lanes.create(
            connection,
            job.pk,
            action.table,
            named=action.named,
            # A function may take seconds for a page of rows: nobody knows before the first. With
            # a limit, a long range would begin with a long rest.
            range_blocks=1 if isinstance(action, Compute) or job.rows_per_second else None,
            before=None if isinstance(action, Proof) else _counted_before(job),
        )
    return job


def _rows_per_second(action: Pass, run: PhaseRun) -> int | None:
    """The limit with which a job begins: a backfill of an application's database gently."""
    is_backfill = isinstance(action, Fill) and run.direction == Direction.FORWARD
    if not is_backfill or not is_protected(run.rollout.environment):
        return None
    return setting("BACKFILL_ROWS_PER_SECOND", 0) or None


def _counted_before(job: BackfillJob) -> Totals | None:
    """The counts of a job's earlier end, if it runs again; else None.

    The journal has counters only of an ended job, whose lanes are gone.
    """
    if job.rounds == 1 or not job.working_seconds:
        return None
    return Totals(
        scanned=job.scanned,
        updated=job.updated,
        quarantined=job.quarantined,
        rewritten=job.rewritten,
        working_seconds=job.working_seconds,
        fraction=0.0,
        round=job.rounds,
        holders=(),
    )


def worker_of(
    connection: Connection, action: Pass, job: BackfillJob, control: Control
) -> backfill.Worker:
    """What works on a job's lanes, at the pace that people and the database's health set."""
    backfill.prepare_session(connection)
    control.attach(connection)
    settings = LiveSettings(job)
    compression = SessionCompression(connection)
    record = PaceRecord(*(connection, job.pk, heartbeats.process_name()), own_tables=_OWN_TABLES)

    def signals() -> list[Signal]:
        compression.follow(others_write=record.latencies.others_write is True)
        commits = record.signal(settings().commit_limit_ms)
        return [*signals_of(connection, action, job), commits]

    return backfill.Worker(
        connection,
        action,
        stripes=job.stripes,
        control=control,
        pace=Pace(settings=settings, signals=signals, throttle=record.began, record=record.record),
        function=import_string(action.function) if isinstance(action, Compute) else None,
        most_poison_rows=job.most_poison_rows,
    )


def signals_of(connection: Connection, action: Pass, job: BackfillJob) -> list[Signal]:
    """The health of a job's database and of its application."""
    return [*read_signals(connection, action.table), *application_signals(job.step_run.run)]


def run_lanes(worker: backfill.Worker, job: BackfillJob, *, until: float, wait: bool) -> None:
    """Work on free lanes until a moment of the monotonic clock, or until there is none.

    With ``wait``, wait for lanes that others hold: one of them may have died.
    """
    connection = worker.connection
    while not lanes.is_finished(connection, job.pk) and time.monotonic() < until:
        lane = lanes.claim(connection, job.pk, heartbeats.process_name())
        if lane is None:
            if not wait:
                return
            worker.control.report_wait("other workers to finish their ranges")
            pause(0.2, worker.control)
            continue
        worker.control.report_wait("")
        _log.info("Works on blocks %s to %s of %s", lane.next_block, lane.end_block, lane.relation)
        try:
            worker.run_lane(lane, seconds=until - time.monotonic())
        except backfill.LaneLost:
            continue
        finally:
            if not connection.closed:
                lanes.release(connection, lane)


def run_job(
    connection: Connection,
    action: Pass,
    step_run: StepRun,
    position: int,
    *,
    until: float,
    control: Control,
) -> str | None:
    """Work on an action until a moment of the monotonic clock.

    A sentence of its counts when the final sweep found nothing left, None when time ran out first.
    Raises Interrupted, RowsRemain, TooManyPoisonRows and psycopg.Error.
    """
    if isinstance(action, Proof | Copy) and action.done and fetch_bool(connection, action.done):
        return "Already applied."
    if isinstance(action, CsvTask) and _has_no_file(connection, action, step_run):
        return "No file is uploaded here: nothing to do."
    job = job_of(connection, action, step_run, position)
    with logs.bound(job=job.pk):
        if job.finished_at is None:
            for _number in range(job.workers - 1):
                queue.send("assist", job.pk, time.time() + until - time.monotonic())
            worker = worker_of(connection, action, job, control)
            run_lanes(worker, job, until=until, wait=True)
            if not lanes.is_finished(connection, job.pk):
                return None
            if not _swept(connection, action, job, step_run, control):
                return None
            _write_end(connection, action, job, step_run)
            if isinstance(action, Fill | Compute):
                column_statistics.gather(connection, action)
        # Where it was finished before, a worker died between the ends of the job and of its step.
        lanes.forget(connection, job.pk)
        return _counts(action, job)


def _has_no_file(connection: Connection, task: CsvTask, step_run: StepRun) -> bool:
    """Whether a task has nothing to work on, as in a rehearsal; one that is done had its file.

    Raises NoCsvFile if people expect it to have one.
    """
    if BackfillJob.objects.filter(step_run=step_run, kind=task.kind).exists():
        return False
    if fetch_bool(connection, task.file.is_there):
        return False
    if step_run.run.rollout.environment in configured():
        raise NoCsvFile(
            f"The CSV file of step '{task.file.step}' is gone. Upload it on the phase's page, then "
            "retry the phase."
        )
    return True


def _swept(
    connection: Connection, action: Pass, job: BackfillJob, step_run: StepRun, control: Control
) -> bool:
    """Whether the finished lanes leave no row; else another round begins."""
    if isinstance(action, Proof):
        proofs.judge(connection, action, job)
        return True
    if isinstance(action, Copy):
        if not copy_batches.complete(connection, action, job.pk):
            _again(connection, action, job, copy_batches.MAX_LATE_ROWS, attempts=step_run.attempts)
            return False
        return True
    if step_run.attempts > 1:
        # Somebody pressed retry, and may have fixed what the rows were refused for.
        retry_quarantined(connection, action, job, control)
    quarantine.refuse_too_many(connection, job.pk, most=job.most_poison_rows)
    if isinstance(action, Fill) and action.keeps:
        refuse_any(connection, job)
    left = backfill.count_unfilled(connection, action, job.pk)
    if left:
        _again(connection, action, job, left, attempts=step_run.attempts)
    return not left


def _again(
    connection: Connection,
    action: Fill | Compute | Copy,
    job: BackfillJob,
    left: int,
    *,
    attempts: int,
) -> None:
    if job.rounds >= MAX_ROUNDS * attempts:
        raise RowsRemain(
            f"Still incorrect after {job.rounds} passes: {counted(left, 'row')} of {job.table}. "
            f"{_why_rows_remain(connection, action.table)} Then retry the phase."
        )
    job.rounds += 1
    job.save(update_fields=["rounds"])
    lanes.another_round(connection, job.pk, action.table, named=action.named)


def _why_rows_remain(connection: Connection, table: Table) -> str:
    swallowing = swallowing_triggers(connection, table)
    if not swallowing:
        return "Start an audit: its report shows the rows and why."
    which = f"One of the triggers {', '.join(swallowing)}" if swallowing[1:] else swallowing[0]
    return (
        f"{which} may discard their updates (RETURN NULL or RETURN OLD before an update): let it "
        "pass updates that change only the new columns."
    )


def refuse_any(connection: Connection, job: BackfillJob) -> None:
    """Raises RowsRefused while rows are in the quarantine of a rollback's pass."""
    named = quarantine.poison_of(job.pk, limit=proofs.MOST_NAMED).ask(connection)
    if named.number:
        raise proofs.RowsRefused(
            f"{counted(named.number, 'row')} of {job.table} could not be restored: "
            f"{proofs.keys_of(named)}. {named.rows[0].error} The job's page has each row's reason."
        )


def _write_end(connection: Connection, action: Pass, job: BackfillJob, step_run: StepRun) -> None:
    totals = lane_totals.totals(connection, job.pk)
    job.scanned, job.updated = totals.scanned, totals.updated
    job.already_right, job.quarantined = totals.already_right, totals.quarantined
    job.rewritten = totals.rewritten
    if isinstance(action, Proof):
        job.already_right = totals.exact
    job.working_seconds = totals.working_seconds
    job.finished_at = timezone.now()
    run = step_run.run
    with journal.atomic():
        job.save(
            update_fields=[
                *("scanned", "updated", "already_right", "quarantined", "rewritten"),
                *("working_seconds", "finished_at"),
            ]
        )
        activity_log.record(
            Event.BACKFILL_DONE,
            f"{job_label(job.kind)}, {job.table}: {_counts(action, job)}",
            on=run,
            actor=activity_log.attempted_by(run),
            source="worker",
            job=job.pk,
            scanned=job.scanned,
            updated=job.updated,
            already_right=job.already_right,
            quarantined=job.quarantined,
            rewritten=job.rewritten,
            rounds=job.rounds,
            working_seconds=round(job.working_seconds, 3),
        )


def _counts(action: Pass, job: BackfillJob) -> str:
    if isinstance(action, Proof):
        return proofs.sentence(action, job)
    if isinstance(action, Copy):
        meanwhile = f", {job.rewritten:,} that the application wrote meanwhile" * (
            job.rewritten > 0
        )
        scanned = counted(job.scanned, "row")
        return f"{scanned} scanned, {job.updated:,} archived{meanwhile}; 0 remaining."
    others = "not selected or already correct" if job.kind == "repair" else "already correct"
    parts = {
        "updated": job.updated,
        others: job.already_right,
        "quarantined": job.quarantined,
        "updated that the application wrote meanwhile": job.rewritten,
    }
    counts = [f"{rows:,} {what}" for what, rows in parts.items() if rows]
    sentence = ", ".join([f"{counted(job.scanned, 'row')} scanned", *counts])
    kept = f" {_kept(action)}" if isinstance(action, Fill) and action.keeps else ""
    return f"{sentence}; the final sweep found none left.{kept}"


def _kept(action: Fill) -> str:
    columns = ", ".join(action.keeps)
    return f"Each batch compared {columns} of its rows before and after: unchanged."
