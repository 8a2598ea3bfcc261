"""The progress of a backfill job: from its lanes while it runs, from the journal afterwards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import psycopg
from django.utils import timezone
from psycopg import errors

from rollout.engine import commit_latencies, lane_totals, quarantine
from rollout.engine.commit_latencies import NO_WAIT
from rollout.engine.health import Signal, read_signals
from rollout.engine.lane_totals import Totals
from rollout.engine.pace_records import PaceNow, PastThrottles, pace_now, throttles_of
from rollout.engine.quarantine import PoisonRow
from rollout.engine.target import NOT_AS_EXPECTED, Connection, TargetAway, reason_of
from rollout.engine.throughputs import Loss, Throughput, losses_of, throughputs_of
from rollout.journal.environments import target_of
from rollout.models import WORKING, BackfillJob
from rollout.plan import plans
from rollout.telemetry.signals import application_signals

# With more, neighbouring ones are put together.
MAX_THROUGHPUTS = 120
RECENT_SECONDS = 30
# Over this time a speed is looked at to see whether it is steady.
STEADY_SECONDS = 120
# From so many measured seconds on a job is expected to keep the speed that was measured.
SETTLED_SECONDS = 10
# Two speeds that differ by no more than this factor are one.
SAME_SPEED = 1.3


@dataclass(frozen=True)
class TimeLeft:
    """Seconds to the end of the scan, at the highest and at the lowest speed that is likely.

    Both are the same once the speed is steady. ``longest`` is None while a signal stops the job.
    """

    shortest: float
    longest: float | None


@dataclass(frozen=True)
class JobProgress:
    """Rows and speed of a job. ``fraction`` is of the table's blocks, from 0 to 1.

    The speed of a running job is that of the last half minute, rests included; that of a job
    which has ended is over its time running. Both it and ``left`` are None where nothing is known,
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
    right_since: int = 0
    """Rows that left the quarantine after the job's end and that it did not write."""
    workers: tuple[str, ...] = ()
    unknown: str = ""
    """Why only the journal could be read; empty if the target answered."""

    @property
    def already_right(self) -> int:
        """Rows scanned that were right and not written."""
        return max(0, self.scanned - self.updated - self.quarantined - self.right_since)

    @property
    def in_final_sweep(self) -> bool:
        """Whether every block was scanned and rows that are not right are being counted."""
        return not self.done and self.fraction >= 1


@dataclass(frozen=True)
class JobReport:
    """Everything a job's page shows of the target. Only a running job has signals."""

    progress: JobProgress
    throughputs: list[Throughput]
    losses: list[Loss]
    signals: list[Signal]
    pace: PaceNow | None = None
    """The pace of a running job, from its first look on."""
    throttles: PastThrottles = field(default_factory=lambda: PastThrottles([], 0))
    poison_rows: list[PoisonRow] = field(default_factory=list)
    poisoned: int = 0
    """How many rows are in quarantine; ``poison_rows`` has the first hundred."""


def progress_of(job: BackfillJob) -> JobProgress:
    """Read a job's progress. ``job.step_run.run.rollout`` is best selected along with the job."""
    if job.finished_at is not None:
        return _ended(job)
    try:
        with target_of(job.step_run.run.rollout.environment).connect_briefly() as connection:
            totals = lane_totals.totals(connection, job.pk)
            measured = throughputs_of(job.pk, most=MAX_THROUGHPUTS).ask(connection)
            pace = pace_now(connection, job.pk)
    except (TargetAway, errors.QueryCanceled, *NOT_AS_EXPECTED) as error:
        return _known_to_the_journal(job, error)
    return _under_way(job, totals, evenly(measured), [], pace)


def report_of(job: BackfillJob) -> JobReport:
    """Read everything about a job on one connection, or the journal's part if the target is away.

    Raises psycopg.Error, also for a query that takes too long: a page does not wait for it.
    """
    try:
        return _read(job)
    except (TargetAway, *NOT_AS_EXPECTED) as error:
        return JobReport(_known_to_the_journal(job, error), [], [], [])


def _read(job: BackfillJob) -> JobReport:
    with target_of(job.step_run.run.rollout.environment).connect_briefly() as connection:
        totals = lane_totals.totals(connection, job.pk)
        measured = throughputs_of(job.pk, most=MAX_THROUGHPUTS).ask(connection)
        losses = losses_of(job.pk).ask(connection)
        poison = quarantine.poison_of(job.pk).ask(connection)
        pace = pace_now(connection, job.pk) if _is_at_work(job) else None
        throttles = throttles_of(job.pk).ask(connection)
        signals = _signals(connection, job, pace)
    measured = evenly(measured)
    return JobReport(
        progress=_ended(job)
        if job.finished_at is not None
        else _under_way(job, totals, measured, signals, pace),
        throughputs=measured,
        losses=losses,
        signals=signals,
        pace=pace,
        throttles=throttles,
        poison_rows=poison.rows,
        poisoned=poison.number,
    )


def took(job: BackfillJob) -> timedelta | None:
    """The time from a job's start to its end, with its rests but without pauses of its run."""
    if job.finished_at is None:
        return None
    return job.step_run.run.time_at_work(job.created_at, job.finished_at)


def halted(job: BackfillJob) -> timedelta | None:
    """How long a job that has ended stood still, because its run was paused or had stopped."""
    time = took(job)
    if job.finished_at is None or time is None:
        return None
    return job.finished_at - job.created_at - time


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
        right_since=_right_since(job),
    )


def _right_since(job: BackfillJob) -> int:
    # What a proof finds right are not all rows that do not differ.
    if job.kind != "fill":
        return 0
    return max(0, job.scanned - job.updated - job.already_right - job.quarantined)


def _under_way(
    job: BackfillJob,
    totals: Totals,
    measured: list[Throughput],
    signals: list[Signal],
    pace: PaceNow | None,
) -> JobProgress:
    if totals.scanned < job.scanned:
        # The job must be done again and no worker has started: only the journal has its totals.
        totals = replace(
            totals,
            scanned=job.scanned,
            updated=job.updated,
            quarantined=job.quarantined,
            rewritten=job.rewritten,
        )
    if not job.step_run.run.working:
        return _halted(totals)
    now = timezone.now()
    recent = recent_speed(measured, began=job.created_at, now=now)
    likely = _likely_speeds(job, measured, now)
    duty = job.duty_percent / 100
    in_batches = totals.scanned / totals.working_seconds if totals.working_seconds else 0.0
    unhindered = in_batches * duty * max(len(totals.holders), 1)
    if job.rows_per_second is not None:
        unhindered = min(unhindered, job.rows_per_second)
    throttled = unhindered * (pace.throttle.share if pace else 1.0)
    if likely and throttled < unhindered:
        # What was measured of late is of before the throttle.
        likely = (*likely, throttled)
    return JobProgress(
        scanned=totals.scanned,
        updated=totals.updated,
        fraction=totals.fraction,
        rows_per_second=(unhindered if totals.holders else 0.0) if recent is None else recent,
        left=time_left(
            (1 - totals.fraction) * job.estimated_rows,
            speeds=likely
            or (
                *(unhindered, throttled),
                recent if job.paced_at is None else None,
            ),
            signals=signals,
        ),
        round=totals.round,
        done=False,
        waiting_for=job.step_run.waiting_for,
        quarantined=totals.quarantined,
        rewritten=totals.rewritten,
        workers=totals.holders,
    )


def _likely_speeds(
    job: BackfillJob, measured: list[Throughput], now: datetime
) -> tuple[float | None, ...]:
    """The speed of late and for longer, since somebody changed the job's pace; empty until enough
    was measured."""
    since = job.paced_at or job.created_at
    of_pace = [
        throughput for throughput in measured if throughput.at >= since or job.paced_at is None
    ]
    if not of_pace or (now - of_pace[0].at).total_seconds() < SETTLED_SECONDS:
        return ()
    recent, longer = (
        recent_speed(of_pace, began=since, now=now, over=seconds)
        for seconds in (RECENT_SECONDS, STEADY_SECONDS)
    )
    return (recent, longer) if recent else ()


def _halted(totals: Totals) -> JobProgress:
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


def evenly(measured: Sequence[Throughput]) -> list[Throughput]:
    """The throughputs with the rows of each block range spread over the time that the range took.

    The engine counts a range's rows when it begins with it. In buckets that begin with none, work
    on the range of a bucket before them continues.
    """
    spread: list[Throughput] = []
    of_range: list[Throughput] = []
    for throughput in measured:
        if of_range and (throughput.scanned or not throughput.working_seconds):
            spread += _spread(of_range)
            of_range = []
        of_range.append(throughput)
    return spread + _spread(of_range)


def _spread(of_range: list[Throughput]) -> list[Throughput]:
    scanned = sum(throughput.scanned for throughput in of_range)
    worked = sum(throughput.working_seconds for throughput in of_range)
    if len(of_range) < 2 or not worked:
        return of_range
    return [
        replace(throughput, scanned=round(scanned * throughput.working_seconds / worked))
        for throughput in of_range
    ]


def recent_speed(
    measured: Sequence[Throughput], *, began: datetime, now: datetime, over: float = RECENT_SECONDS
) -> float | None:
    """Rows a second of the last seconds.

    Time in which nothing was done counts. None where nothing was measured in that time.
    """
    if not measured:
        return None
    since = now - timedelta(seconds=max(over, 2 * measured[-1].seconds))
    recent = [throughput for throughput in measured if throughput.at >= since]
    if not recent:
        return None
    seconds = (now - max(recent[0].at, began)).total_seconds()
    return sum(throughput.scanned for throughput in recent) / max(seconds, 1.0)


def time_left(
    rows: float, *, speeds: Iterable[float | None], signals: Sequence[Signal]
) -> TimeLeft | None:
    """The time for these rows at speeds in rows a second, each as likely as the others.

    At first they are that of all batches without a rest, the share of it that signals allow now,
    and what little was measured; later what was measured of late and for longer, and that share
    while a signal slows the job down. Where they agree the time is one figure.
    """
    known = [speed for speed in speeds if speed]
    if not known:
        return None
    shortest, longest = rows / max(known), rows / min(known)
    if any(signal.status == "stop" for signal in signals):
        return TimeLeft(shortest, None)
    if longest <= SAME_SPEED * shortest:
        shortest = longest = rows * len(known) / sum(known)
    return TimeLeft(shortest, longest)


def _is_at_work(job: BackfillJob) -> bool:
    return job.finished_at is None and job.step_run.run.state in WORKING


def _signals(connection: Connection, job: BackfillJob, pace: PaceNow | None) -> list[Signal]:
    if not _is_at_work(job):
        return []
    plan = plans.find(job.step_run.run.rollout.plan)
    # The plan may have changed since the job was created, or be gone.
    tables = plan.tables if plan else ()
    table = next((table for table in tables if table.label == job.table), None)
    signals = read_signals(connection, table) if table is not None else []
    commits = []
    if pace is not None:
        waits = commit_latencies.wait_for_disk(connection)
        commits = [pace.latencies.signal(job.commit_limit_ms) if waits else NO_WAIT]
    return [*commits, *signals, *application_signals(job.step_run.run)]
