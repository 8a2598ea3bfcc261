"""How a backfill job goes: its lanes in the target while it runs, the journal when it has ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import psycopg
from django.utils import timezone

from rollout.engine import lanes, quarantine
from rollout.engine.health import Signal, read_signals
from rollout.engine.lanes import Totals
from rollout.engine.pace import THROTTLED_DUTY
from rollout.engine.quarantine import PoisonRow
from rollout.engine.samples import Loss, Sample, losses_of, samples_of
from rollout.engine.target import NOT_AS_EXPECTED, Connection, TargetAway, reason_of
from rollout.journal.environments import target_of
from rollout.models import WORKING, BackfillJob
from rollout.plan import plans
from rollout.telemetry.signals import application_signals

MOST_SAMPLES = 120
"""With more than that, samples are put together; each of the buckets then counts as an average."""
RECENT_SECONDS = 30


@dataclass(frozen=True)
class TimeLeft:
    """Seconds to the end of the scan: if nothing slows it down any more, and as it goes now.

    ``longest`` is None while the job is held: nobody knows until when.
    """

    shortest: float
    longest: float | None


@dataclass(frozen=True)
class JobProgress:
    """Rows and speed of a job. ``fraction`` is of the table's blocks, from 0 to 1.

    The speed of a running job is that of the last half minute, rests included; that of a job
    which has ended is over its time at work. Both it and ``left`` are None where nothing is known,
    and while the run stands still.
    """

    scanned: int
    updated: int
    fraction: float
    rows_per_second: float | None
    left: TimeLeft | None
    round: int
    done: bool
    waiting_for: str
    quarantined: int = 0
    rewritten: int = 0
    workers: tuple[str, ...] = ()
    unknown: str = ""
    """Why nothing but what the journal has is known; empty where the target was asked."""

    @property
    def already_right(self) -> int:
        """Rows scanned that were not written; while a job runs, some of them are yet to be."""
        return max(0, self.scanned - self.updated - self.quarantined)

    @property
    def in_final_sweep(self) -> bool:
        """Every block has been gone through; now the rows that are not right are counted."""
        return not self.done and self.fraction >= 1


@dataclass(frozen=True)
class JobReport:
    """Everything a job's page shows of the target. The signals are those of a job at work."""

    progress: JobProgress
    samples: list[Sample]
    losses: list[Loss]
    signals: list[Signal]
    poison_rows: list[PoisonRow] = field(default_factory=list)
    poisoned: int = 0
    """How many rows are in quarantine; ``poison_rows`` has the first hundred."""


def progress_of(job: BackfillJob) -> JobProgress:
    """Read a job's progress. ``job.step_run.run.rollout`` is best selected along with the job."""
    if job.finished_at is not None:
        return _ended(job)
    try:
        with target_of(job.step_run.run.rollout.environment).connect() as connection:
            totals = lanes.totals(connection, job.pk)
            measured = samples_of(job.pk, most=MOST_SAMPLES).ask(connection)
    except (TargetAway, *NOT_AS_EXPECTED) as error:
        return _known_to_the_journal(job, error)
    return _under_way(job, totals, evenly(measured), [])


def report_of(job: BackfillJob) -> JobReport:
    """Read all that is known of a job, on one connection; what the journal knows where the target
    is away.

    Raises psycopg.Error, a query that takes too long included: a page is not to wait for it.
    """
    try:
        return _read(job)
    except (TargetAway, *NOT_AS_EXPECTED) as error:
        return JobReport(_known_to_the_journal(job, error), [], [], [])


def _read(job: BackfillJob) -> JobReport:
    with target_of(job.step_run.run.rollout.environment).connect() as connection:
        connection.execute("SET statement_timeout = '3s'")
        totals = lanes.totals(connection, job.pk)
        measured = samples_of(job.pk, most=MOST_SAMPLES).ask(connection)
        losses = losses_of(job.pk).ask(connection)
        poison = quarantine.poison_of(job.pk).ask(connection)
        signals = _signals(connection, job)
    measured = evenly(measured)
    return JobReport(
        progress=_ended(job)
        if job.finished_at is not None
        else _under_way(job, totals, measured, signals),
        samples=measured,
        losses=losses,
        signals=signals,
        poison_rows=poison.rows,
        poisoned=poison.number,
    )


def took(job: BackfillJob) -> timedelta | None:
    """From a job's beginning to its end: rests are included, halts of its run are not."""
    if job.finished_at is None:
        return None
    return job.step_run.run.time_at_work(job.created_at, job.finished_at)


def speed_of(job: BackfillJob) -> float:
    """Rows a second of a job that has ended, over all the time it took."""
    time = took(job)
    seconds = time.total_seconds() if time is not None else 0.0
    return job.scanned / seconds if seconds > 0 else 0.0


def _known_to_the_journal(job: BackfillJob, error: psycopg.Error) -> JobProgress:
    if job.finished_at is not None:
        return replace(_ended(job), unknown=reason_of(error))
    return JobProgress(
        scanned=job.scanned,
        updated=job.updated,
        fraction=0.0,
        rows_per_second=0.0,
        left=None,
        round=job.rounds,
        done=False,
        waiting_for=job.step_run.waiting_for,
        quarantined=job.quarantined,
        unknown=reason_of(error),
    )


def _ended(job: BackfillJob) -> JobProgress:
    return JobProgress(
        scanned=job.scanned,
        updated=job.updated,
        fraction=1.0,
        rows_per_second=speed_of(job),
        left=TimeLeft(0.0, 0.0),
        round=job.rounds,
        done=True,
        waiting_for="",
        quarantined=job.quarantined,
        rewritten=job.rewritten,
    )


def _under_way(
    job: BackfillJob, totals: Totals, measured: list[Sample], signals: list[Signal]
) -> JobProgress:
    if totals.scanned < job.scanned:
        # It is to be done again, and no worker has begun: the journal alone knows the first time.
        totals = replace(
            totals,
            scanned=job.scanned,
            updated=job.updated,
            quarantined=job.quarantined,
            rewritten=job.rewritten,
        )
    if not job.step_run.run.working:
        return _halted(job, totals)
    recent = recent_speed(measured, began=job.created_at, now=timezone.now())
    duty = job.duty_percent / 100
    in_batches = totals.scanned / totals.working_seconds if totals.working_seconds else 0.0
    unhindered = in_batches * duty * max(len(totals.holders), 1)
    return JobProgress(
        scanned=totals.scanned,
        updated=totals.updated,
        fraction=totals.fraction,
        rows_per_second=(unhindered if totals.holders else 0.0) if recent is None else recent,
        left=time_left(
            (1 - totals.fraction) * job.estimated_rows,
            unhindered=unhindered,
            throttled=unhindered * min(1.0, THROTTLED_DUTY / duty),
            recent=recent,
            signals=signals,
        ),
        round=totals.round,
        done=False,
        waiting_for=job.step_run.waiting_for,
        quarantined=totals.quarantined,
        rewritten=totals.rewritten,
        workers=totals.holders,
    )


def _halted(job: BackfillJob, totals: Totals) -> JobProgress:
    return JobProgress(
        scanned=totals.scanned,
        updated=totals.updated,
        fraction=totals.fraction,
        rows_per_second=None,
        left=None,
        round=totals.round,
        done=False,
        waiting_for="",
        quarantined=totals.quarantined,
        rewritten=totals.rewritten,
    )


def evenly(measured: Sequence[Sample]) -> list[Sample]:
    """The samples with the rows of each block range spread over the time that the range took.

    The engine counts a range's rows when it begins with it. In buckets that begin with none, work
    on the range of a bucket before them goes on.
    """
    spread: list[Sample] = []
    together: list[Sample] = []
    for sample in measured:
        if together and (sample.scanned or not sample.working_seconds):
            spread += _shared(together)
            together = []
        together.append(sample)
    return spread + _shared(together)


def _shared(together: list[Sample]) -> list[Sample]:
    scanned = sum(sample.scanned for sample in together)
    worked = sum(sample.working_seconds for sample in together)
    if len(together) < 2 or not worked:
        return together
    return [
        replace(sample, scanned=round(scanned * sample.working_seconds / worked))
        for sample in together
    ]


def recent_speed(measured: Sequence[Sample], *, began: datetime, now: datetime) -> float | None:
    """Rows a second of the last half minute.

    Time in which nothing was done counts. None where nothing was measured in that time.
    """
    if not measured:
        return None
    if len(measured) >= MOST_SAMPLES:
        return measured[-1].rows_per_second
    since = now - timedelta(seconds=RECENT_SECONDS)
    recent = [sample for sample in measured if sample.at >= since]
    if not recent:
        return None
    seconds = (now - max(recent[0].at, began)).total_seconds()
    return sum(sample.scanned for sample in recent) / max(seconds, 1.0)


def time_left(
    rows: float,
    *,
    unhindered: float,
    throttled: float,
    recent: float | None,
    signals: Sequence[Signal],
) -> TimeLeft | None:
    """The time for so many rows, from rows a second: without any hindrance, and as it goes.

    ``unhindered`` and ``throttled`` are the speeds of all batches so far under the duty that is
    set: that is what people want, whereas a health signal comes and goes.
    """
    speeds = [unhindered, recent or 0.0]
    if any(signal.status == "throttle" for signal in signals):
        speeds.append(throttled)
    speeds = [speed for speed in speeds if speed > 0]
    if not speeds:
        return None
    held = any(signal.status == "stop" for signal in signals)
    return TimeLeft(rows / max(speeds), None if held else rows / min(speeds))


def _signals(connection: Connection, job: BackfillJob) -> list[Signal]:
    if job.finished_at is not None or job.step_run.run.state not in WORKING:
        return []
    plan = plans.find(job.step_run.run.rollout.plan)
    # The plan may be another by now than the one that the job was made from, or gone.
    tables = plan.tables if plan else ()
    table = next((table for table in tables if table.label == job.table), None)
    signals = read_signals(connection, table) if table is not None else []
    return [*signals, *application_signals(job.step_run.run)]
