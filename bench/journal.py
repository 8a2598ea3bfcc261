"""A journal as it is after years: many jobs, a long log, a report with many mismatches."""

from datetime import timedelta
from typing import TypeVar

from django.db.models import Model
from django.utils import timezone

Row = TypeVar("Row", bound=Model)

JOBS, ENTRIES, MISMATCHES = 200, 100_000, 10_000


def fill(plan: str) -> None:
    """Write the journal of a rollout whose phases were carried out already."""
    from rollout.models import (
        AuditReport,
        BackfillJob,
        Finding,
        LogEntry,
        Mismatch,
        PhaseRun,
        StepRun,
    )
    from rollout.status import find_rollout

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
        run = _copy(old)
        StepRun.objects.filter(run=old).update(run=run)
    LogEntry.objects.bulk_create(
        (
            LogEntry(
                at=now,
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
    report = AuditReport.objects.filter(rollout=rollout, status="clean").first()
    assert report is not None
    found = _copy(
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
                first_report=found,
                last_report=found,
            )
            for n in range(MISMATCHES)
        ),
        batch_size=5000,
    )
    Mismatch.objects.bulk_create(
        (
            Mismatch(
                report=found,
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


def _copy(row: Row, **changed: object) -> Row:
    """A row like another one, but for some fields."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    del values["id"]
    made = type(row)(**values)
    for name, value in changed.items():
        setattr(made, name, value)
    made.save()
    return made
