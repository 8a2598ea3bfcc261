"""A journal as it is after years: many jobs, a long log, a report with many mismatches, and a month
of measurements."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from django.db.models import Model
from django.utils import timezone

if TYPE_CHECKING:
    from rollout.models import Rollout

Row = TypeVar("Row", bound=Model)

JOBS, ENTRIES, MISMATCHES = 200, 100_000, 10_000
MEASURED = timedelta(days=30)
OPERATIONS = ("search", "detail", "create", "update", "upload", "export")


def fill(plan: str) -> None:
    """Write the journal of a rollout whose phases were run already."""
    from rollout.models import (
        AuditReport,
        BackfillJob,
        Finding,
        LogEntry,
        Mismatch,
        PhaseRun,
        StepRun,
    )
    from rollout.queries.status import find_rollout
    from rollout.telemetry.baselines import keep_baseline

    rollout = find_rollout(plan, "production")
    now = timezone.now()
    newest = {run.phase: run for run in PhaseRun.objects.filter(rollout=rollout).order_by("pk")}
    pattern = BackfillJob.objects.filter(step_run__run=newest[2]).select_related("step_run").first()
    assert pattern is not None
    for n in range(JOBS):
        run = _copy(newest[2], created_at=now - timedelta(days=JOBS - n), state="done", phase=2)
        step = _copy(pattern.step_run, run=run, step=pattern.step_run.step)
        _copy(pattern, step_run=step)
    # The runs that say where the rollout stands are the newest ones.
    for number in sorted(newest):
        old = newest[number]
        run = _copy(old, created_at=now - timedelta(minutes=5 - number))
        StepRun.objects.filter(run=old).update(run=run)
    LogEntry.objects.bulk_create(
        (
            LogEntry(
                at=now - MEASURED * (ENTRIES - n) / ENTRIES,
                actor=("grace", "ada", "linus")[n % 3],
                source="worker",
                plan=plan,
                environment="production",
                phase=n % 5,
                event=("step done", "phase started", "pace changed")[n % 3],
                message=f"Entry {n}: something was done, with these counts.",
                data={"rows": n},
                previous_hash="0" * 64,
                hash=f"{n:064x}",
            )
            for n in range(ENTRIES)
        ),
        batch_size=5000,
    )
    measure(rollout, now=now)
    for run in PhaseRun.objects.filter(rollout=rollout).order_by("-pk")[: len(newest)]:
        keep_baseline(run)
    report = AuditReport.objects.filter(rollout=rollout, status="clean").first()
    assert report is not None
    report_pk = _copy(
        report,
        status="mismatched",
        mismatched=MISMATCHES,
        stored_mismatches=MISMATCHES,
        started_at=now,
        finished_at=now,
    )
    findings = Finding.objects.bulk_create(
        (
            Finding(
                rollout=rollout,
                table="properties",
                key=f"{n:032x}",
                column="property_type_id",
                category="wrong",
                first_report=report_pk,
                last_report=report_pk,
            )
            for n in range(MISMATCHES)
        ),
        batch_size=5000,
    )
    Mismatch.objects.bulk_create(
        (
            Mismatch(
                report=report_pk,
                finding=finding,
                table="properties",
                key=finding.key,
                key_parts=[finding.key],
                column="property_type_id",
                category="wrong",
                legacy="Loft",
                expected="Loft",
                actual="House",
            )
            for finding in findings
        ),
        batch_size=5000,
    )


def measure(rollout: "Rollout", *, now: datetime) -> None:
    """A month of the application's operations and of the database, thinned as the watchdog does."""
    from rollout.models import DatabaseReading, Measurement
    from rollout.telemetry.retention import resolutions
    from rollout.watchdog.database_statistics import RESOLUTIONS

    # From 1.5 to 80 ms, as pages of an application take.
    calls = {str(bucket): 40 - abs(bucket + 45) for bucket in range(-65, -25)}
    Measurement.objects.bulk_create(
        Measurement(
            at=at,
            seconds=seconds,
            operation=operation,
            read_mode="legacy",
            write_mode="both",
            calls=sum(calls.values()),
            queries=900,
            database_seconds=1.5,
            durations=calls,
        )
        for at, seconds in _thinned(now, 3, [(r.after, r.seconds) for r in resolutions()])
        for operation in OPERATIONS
    )
    table = {"table_bytes": 2e6, "index_bytes": 1e6, "live": 900, "dead": 100, "deletes": 0}
    DatabaseReading.objects.bulk_create(
        DatabaseReading(
            rollout=rollout,
            at=at,
            seconds=seconds,
            server={"started": 1.0, "reset": None, "wal_bytes": 1e6 * n, "connections": 12},
            tables={"properties": {**table, "inserts": n, "updates": 9 * n, "hot_updates": 7 * n}},
            statements=[
                {"query": f"Statement {m}", "calls": 4, "ms": 9.0 * m, "rows": 4} for m in range(20)
            ],
        )
        for n, (at, seconds) in enumerate(reversed(list(_thinned(now, 10, RESOLUTIONS))))
    )


def _thinned(
    now: datetime, finest: int, rules: Sequence[tuple[timedelta, int]]
) -> Iterator[tuple[datetime, int]]:
    """Moments and how long each interval is, the newest first."""
    at = now
    while now - at < MEASURED:
        seconds = max([finest, *(seconds for after, seconds in rules if now - at > after)])
        at -= timedelta(seconds=seconds)
        yield at, seconds


def _copy(row: Row, **changed: object) -> Row:
    """A row like another one, but for some fields."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    del values["id"]
    made = type(row)(**values)
    for name, value in changed.items():
        setattr(made, name, value)
    made.save()
    # Once more, for what is set by itself when a row is made.
    type(row)._default_manager.filter(pk=made.pk).update(**changed)
    return made
