"""Mismatches across reports: new, persisting, repaired, regressed or waived."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from django.utils import timezone

from rollout.engine.audit import AuditResult, RowMismatch
from rollout.models import (
    AuditMode,
    AuditReport,
    Finding,
    FindingState,
    Mismatch,
    MismatchState,
    Rollout,
)

BATCH_SIZE = 1000
# Table, key and column.
Place = tuple[str, str, str]


def settle(report: AuditReport, result: AuditResult, *, operation: str = "") -> None:
    """Store a report's mismatches, each with its state against earlier reports.

    ``operation`` is the application's, if a shadow read of it met them. A full audit that stored
    all its mismatches also marks open findings as repaired that it did not meet. In a transaction.
    """
    known = _known(report.rollout, result.mismatches)
    waived: dict[tuple[str, str], bool] = {}
    for first in range(0, len(result.mismatches), BATCH_SIZE):
        batch = result.mismatches[first : first + BATCH_SIZE]
        states = {_place(row): _state_of(known.get(_place(row))) for row in batch}
        findings = _upsert(report, batch, known)
        Mismatch.objects.bulk_create(
            Mismatch(
                report=report,
                finding=findings[_place(row)],
                state=states[_place(row)],
                operation=operation,
                **asdict(row),
            )
            for row in batch
        )
        for row in batch:
            is_waived = states[_place(row)] == MismatchState.WAIVED
            # A row is waived when every one of its mismatches is.
            waived[row.table, row.key] = waived.get((row.table, row.key), True) and is_waived
    report.waived = sum(waived.values())
    if report.mode == AuditMode.FULL and result.all_stored:
        _mark_repaired(report, {_place(row) for row in result.mismatches})


def note(report: AuditReport, mismatches: Sequence[RowMismatch], *, operation: str) -> None:
    """Store mismatches without findings: what differs is not a row, and has no history."""
    Mismatch.objects.bulk_create(
        Mismatch(report=report, operation=operation, **asdict(row)) for row in mismatches
    )


def _known(rollout: Rollout, mismatches: Sequence[RowMismatch]) -> dict[Place, Finding]:
    known: dict[Place, Finding] = {}
    for first in range(0, len(mismatches), BATCH_SIZE):
        keys = {row.key for row in mismatches[first : first + BATCH_SIZE]}
        for finding in Finding.objects.filter(rollout=rollout, key__in=keys):
            known[finding.table, finding.key, finding.column] = finding
    return known


def _state_of(finding: Finding | None) -> MismatchState:
    if finding is None:
        return MismatchState.NEW
    if finding.waived_until is not None and finding.waived_until > timezone.now():
        return MismatchState.WAIVED
    if finding.state == FindingState.REPAIRED:
        return MismatchState.REGRESSED
    return MismatchState.PERSISTING


def _upsert(
    report: AuditReport, batch: Iterable[RowMismatch], known: dict[Place, Finding]
) -> dict[Place, Finding]:
    new, old = [], []
    for row in batch:
        finding = known.get(_place(row))
        if finding is None:
            finding = Finding(
                rollout=report.rollout,
                table=row.table,
                key=row.key,
                column=row.column,
                category=row.category,
                first_report=report,
                last_report=report,
            )
            known[_place(row)] = finding
            new.append(finding)
            continue
        finding.regressions += finding.state == FindingState.REPAIRED
        finding.state = FindingState.OPEN
        finding.category = row.category
        finding.last_report = report
        old.append(finding)
    Finding.objects.bulk_create(new)
    Finding.objects.bulk_update(old, ["regressions", "state", "category", "last_report"])
    return {_place(row): known[_place(row)] for row in batch}


def _mark_repaired(report: AuditReport, mismatching: set[Place]) -> None:
    findings = Finding.objects.filter(rollout=report.rollout, state=FindingState.OPEN)
    if report.tables:
        findings = findings.filter(table__in=report.tables)
    gone = [
        finding.pk
        for finding in findings.iterator(chunk_size=BATCH_SIZE)
        if (finding.table, finding.key, finding.column) not in mismatching
    ]
    for first in range(0, len(gone), BATCH_SIZE):
        Finding.objects.filter(pk__in=gone[first : first + BATCH_SIZE]).update(
            state=FindingState.REPAIRED, repaired_report=report
        )


def _place(row: RowMismatch) -> Place:
    return row.table, row.key, row.column


def came_back(rollout: Rollout) -> int:
    """How many open findings were repaired before: a sign of a wrong write path."""
    return Finding.objects.filter(
        rollout=rollout, state=FindingState.OPEN, regressions__gt=0
    ).count()
