"""Makes audit reports: requested ones, and those that are steps of a phase."""

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psycopg
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from rollout import journal
from rollout.engine import replica
from rollout.engine.audit import (
    MISMATCHED,
    AuditResult,
    CellNow,
    Sample,
    cells_of_row,
    keys_of_pair,
    last_written,
    run_audit,
)
from rollout.engine.conflicting_writes import count_conflicting_writes
from rollout.engine.control import Interrupted
from rollout.engine.health import Signal, read_signals
from rollout.engine.pace import Pace
from rollout.engine.target import Connection
from rollout.journal import activity_log, findings
from rollout.journal.audits import against
from rollout.journal.environments import audit_target_of, target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.transitions import move
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    BackfillJob,
    PhaseRun,
    Rollout,
)
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.queries.sample_bounds import CONFIDENCE, confidence_of_sample, upper_bound
from rollout.worker import leases
from rollout.worker.leased_jobs import LeasedJob
from rollout.worker.leases import Lease

LARGEST_SEED = 2**31 - 1


_WRITE_EVERY = 1.0


class AuditJob(LeasedJob[AuditReport]):
    """Makes a requested report."""

    model = AuditReport
    working = (AuditStatus.RUNNING,)

    @classmethod
    def waiting(cls) -> QuerySet[AuditReport]:
        """Requested audits only; a phase's audit resumes with its run."""
        return super().waiting().filter(run=None)

    def waits_for(self, reason: str) -> None:
        self.job.waiting_for = reason
        self.job.save(update_fields=["waiting_for"])

    def work(self) -> bool:
        _write(self.job, _compare(self.job, self.lease))
        return True

    def stopped(self) -> None:
        """Another worker has it, or it was given up: nobody cancels an audit."""

    def is_left_open_by(self, error: Exception) -> bool:
        """Another worker starts it again."""
        return True


def asked_for(
    rollout: Rollout,
    *,
    actor_name: str,
    source: str,
    sample: int | None = None,
    seed: int | None = None,
    tables: Sequence[str] = (),
    scheduled: bool = False,
) -> AuditReport:
    """Record a requested report, to be made later.

    ``sample`` is the number of rows to pick at random, by ``seed`` if one is given.
    """
    with journal.atomic():
        report = AuditReport.objects.create(
            rollout=rollout,
            mode=AuditMode.SAMPLED if sample else AuditMode.FULL,
            # Until the sample is drawn, how many rows it is to have.
            rows=sample or 0,
            seed=(secrets.randbelow(LARGEST_SEED) if seed is None else seed) if sample else None,
            tables=list(tables),
            scheduled=scheduled,
            plan_digest=plans.get(rollout.plan).digest,
            actor_name=actor_name,
            started_at=by_the_database(),
            lease_until=leases.grace(),
        )
        what = f"a sampled audit of {sample:,} rows of each table" if sample else "a full audit"
        activity_log.record(
            Event.AUDIT_ASKED_FOR,
            f"Requested {what}.",
            on=report,
            actor=actor_name,
            source=source,
            seed=report.seed,
            tables=report.tables,
        )
    return report


def of_run(run: PhaseRun, lease: Lease) -> AuditReport:
    """Make the report of a phase's audit step, under the lease of its run."""
    give_up("The worker crashed; the audit was restarted.", run=run)
    report = AuditReport.objects.create(
        rollout=run.rollout,
        run=run,
        plan_digest=run.plan_digest,
        actor_name=activity_log.attempted_by(run),
        started_at=by_the_database(),
    )
    _write(report, _compare(report, lease))
    return report


@dataclass(frozen=True)
class RowNow:
    """A row as it is now, in each translation, and when it was written where that is known."""

    cells: list[CellNow]
    written_at: datetime | None


def row_now(rollout: Rollout, table_label: str, key: Sequence[str]) -> RowNow:
    """What a row holds at this moment. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    table = next((t for t in plan.audited_tables if t.label == table_label), None)
    if table is None:
        return RowNow([], None)
    with target_of(rollout.environment).connect_briefly() as connection:
        cells = cells_of_row(connection, plan, table, key)
        return RowNow(cells, last_written(connection, table, key) if cells else None)


def keys_now(
    rollout: Rollout,
    table_label: str,
    column: str,
    legacy: str | None,
    new: str | None,
    *,
    at_most: int,
) -> list[str]:
    """Keys of some rows that hold this pair at this moment. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    table = next((t for t in plan.audited_tables if t.label == table_label), None)
    if table is None:
        return []
    target, _ = audit_target_of(rollout.environment)
    with target.connect_briefly() as connection:
        return keys_of_pair(connection, plan, table, column, legacy, new, at_most=at_most)


def give_up(why: str, **of: Any) -> None:
    """Close unfinished audits, such as those ``of`` a run, so that nobody waits for them."""
    for report in AuditReport.objects.filter(status=AuditStatus.RUNNING, **of):
        move(report, AuditStatus.INCONCLUSIVE, message=why)


def _compare(report: AuditReport, lease: Lease) -> AuditResult:
    plan = plans.get(report.rollout.plan)
    target, alias = audit_target_of(report.rollout.environment)
    report.database = alias
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(target.connect())
            lease.attach(connection)
            primary, primary_target = connection, target_of(report.rollout.environment)
            if primary_target != target:
                primary = stack.enter_context(primary_target.connect())
                behind = replica.wait_until_level(primary, connection, lease)
                if behind:
                    return AuditResult(inconclusive=behind)
            conflicting_writes = count_conflicting_writes(primary, plan)
            result = run_audit(
                connection,
                plan,
                tables=report.tables,
                sample=_sample_of(report),
                function_of=import_string,
                jobs_of=partial(_computing_jobs, report.rollout),
                control=lease,
                pace=Pace(signals=partial(_signals, connection, plan)),
                progress=_Progress(report),
            )
            return replace(result, conflicting_writes=conflicting_writes)
    except psycopg.Error as error:
        lease.raise_if_stopped()
        return AuditResult(inconclusive=f"Database error or connection lost: {error}")


def _computing_jobs(rollout: Rollout, table: str) -> list[int]:
    jobs = BackfillJob.objects.filter(step_run__run__rollout=rollout, table=table, kind="compute")
    return list(jobs.values_list("pk", flat=True))


def _sample_of(report: AuditReport) -> Sample | None:
    if report.mode != AuditMode.SAMPLED or report.seed is None:
        return None
    return Sample(rows=report.rows, seed=report.seed)


def _signals(connection: Connection, plan: Plan) -> list[Signal]:
    return [s for table in plan.audited_tables for s in read_signals(connection, table)]


class _Progress:
    """Writes down about once a second how many blocks a report has read."""

    def __init__(self, report: AuditReport) -> None:
        self._report = report
        self._written = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._written >= _WRITE_EVERY or done >= total:
            self._written = now
            self._report.blocks, self._report.blocks_done = total, done
            self._report.save(update_fields=["blocks", "blocks_done"])


def _write(report: AuditReport, result: AuditResult) -> None:
    report.rows = result.rows
    report.population = result.population
    report.matched = result.matched
    report.mismatched = result.mismatched
    report.transient = result.transient
    report.categories = result.categories
    report.translations = [
        {**asdict(translation), "categories": translation.categories}
        for translation in result.translations
    ]
    report.conflicting_writes = [
        {**asdict(writes), "at": writes.at.isoformat()} for writes in result.conflicting_writes
    ]
    report.stored_mismatches = len(result.mismatches)
    report.message = result.inconclusive
    report.waiting_for = ""
    report.snapshot, report.authority = result.snapshot, result.authority
    report.sql_digest, report.mapping_digest = result.sql_digest, result.mapping_digest
    report.mapping_values, report.mapping_reviewed = result.mapping_values, result.mapping_reviewed
    report.mapping_at = result.mapping_at
    report.code_version = code_version()
    with journal.atomic():
        if not result.inconclusive:
            findings.settle(report, result)
            _bound(report, result)
        running, now = {"status": AuditStatus.RUNNING}, by_the_database()
        if not move(report, _status(report, result), expected=running, finished_at=now):
            raise Interrupted("The audit was given up before its end.")
        report.save()
        activity_log.record(
            Event.AUDIT_DONE,
            f"{outcome_of(report)} {against(report)}".strip(),
            on=report,
            actor=report.actor_name,
            source="worker",
            status=report.status,
            mode=report.mode,
            rows=report.rows,
            categories=report.categories,
            conflicting_writes=report.conflicts,
            mapping=report.mapping_digest,
            mapping_values=report.mapping_values,
            mapping_reviewed=report.mapping_reviewed,
        )


def outcome_of(report: AuditReport) -> str:
    """A sentence: the audit's status and its mismatches, or why it is inconclusive."""
    if report.status == AuditStatus.INCONCLUSIVE:
        return f"Audit {report.pk} is inconclusive: {report.message}"
    waived = f", {report.waived:,} of them waived" if report.waived else ""
    return (
        f"Audit {report.pk} is {report.status}: {report.mismatched:,} of {report.rows:,} rows "
        f"mismatched{waived}."
    )


def _status(report: AuditReport, result: AuditResult) -> AuditStatus:
    if result.inconclusive:
        return AuditStatus.INCONCLUSIVE
    return AuditStatus.MISMATCHED if report.mismatched > report.waived else AuditStatus.CLEAN


def _bound(report: AuditReport, result: AuditResult) -> None:
    """Say what a sample proves; a scheduled one so that all of its phase hold together."""
    if report.mode != AuditMode.SAMPLED or not report.rows:
        return
    report.confidence = CONFIDENCE
    if report.scheduled:
        earlier = AuditReport.objects.filter(
            rollout=report.rollout, scheduled=True, pk__lt=report.pk
        ).exclude(status=AuditStatus.INCONCLUSIVE)
        report.confidence = confidence_of_sample(earlier.count() + 1)
    # Each table has a sample of its own: their bounds hold together when the risk is shared out.
    share = 1 - (1 - report.confidence) / len(result.by_table)
    rows = 0.0
    for table, categories in result.by_table.items():
        mismatched = sum(n for name, n in categories.items() if name in MISMATCHED)
        examined = categories.total()
        if examined:
            rows += upper_bound(mismatched, examined, share) * result.populations[table]
    report.upper_rate = rows / result.population


def code_version() -> str:
    """The version of this package that compares."""
    try:
        return version("rollout-console")
    except PackageNotFoundError:
        return "unpackaged"
