"""Mismatches across reports: which are new, stay, were put right, came back, or are accepted."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from django.db.models import Q
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

AT_ONCE = 1000
Place = tuple[str, str, str]
"""Table, key and column."""


def waived_now() -> Q:
    """Findings that somebody accepts at this moment."""
    return Q(waived_until__gt=timezone.now())


def settle(report: AuditReport, result: AuditResult, *, operation: str = "") -> None:
    """Write a report's mismatches down, each with what it was to the reports before.

    ``operation`` names the application's, where its shadow read met them. A full audit also says
    of what it did not find any more that it is right again, as long as it kept all that it found.
    In a transaction.
    """
    known = _known(report.rollout, result.mismatches)
    waived: set[tuple[str, str]] = set()
    accepted: dict[tuple[str, str], bool] = {}
    for first in range(0, len(result.mismatches), AT_ONCE):
        some = result.mismatches[first : first + AT_ONCE]
        states = {_place(row): _state_of(known.get(_place(row))) for row in some}
        found = _upsert(report, some, known)
        Mismatch.objects.bulk_create(
            Mismatch(
                report=report,
                finding=found[_place(row)],
                state=states[_place(row)],
                operation=operation,
                **asdict(row),
            )
            for row in some
        )
        for row in some:
            here = (row.table, row.key)
            is_waived = states[_place(row)] == MismatchState.WAIVED
            # A row is accepted when every one of its mismatches is.
            accepted[here] = accepted.get(here, True) and is_waived
    waived = {row for row, all_of_it in accepted.items() if all_of_it}
    report.waived = len(waived)
    if report.mode == AuditMode.FULL and result.all_stored:
        _put_right(report, {_place(row) for row in result.mismatches})


def note(report: AuditReport, mismatches: Sequence[RowMismatch], *, operation: str) -> None:
    """Write down what is no matter of a row, and so has no history of its own."""
    Mismatch.objects.bulk_create(
        Mismatch(report=report, operation=operation, **asdict(row)) for row in mismatches
    )


def _known(rollout: Rollout, mismatches: Sequence[RowMismatch]) -> dict[Place, Finding]:
    found: dict[Place, Finding] = {}
    for first in range(0, len(mismatches), AT_ONCE):
        keys = {row.key for row in mismatches[first : first + AT_ONCE]}
        for finding in Finding.objects.filter(rollout=rollout, key__in=keys):
            found[finding.table, finding.key, finding.column] = finding
    return found


def _state_of(finding: Finding | None) -> MismatchState:
    if finding is None:
        return MismatchState.NEW
    if finding.waived_until is not None and finding.waived_until > timezone.now():
        return MismatchState.WAIVED
    if finding.state == FindingState.REPAIRED:
        return MismatchState.REGRESSED
    return MismatchState.PERSISTING


def _upsert(
    report: AuditReport, some: Iterable[RowMismatch], known: dict[Place, Finding]
) -> dict[Place, Finding]:
    new, old = [], []
    for row in some:
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
    return {_place(row): known[_place(row)] for row in some}


def _put_right(report: AuditReport, found: set[Place]) -> None:
    open_ones = Finding.objects.filter(rollout=report.rollout, state=FindingState.OPEN)
    if report.tables:
        open_ones = open_ones.filter(table__in=report.tables)
    gone = [
        finding.pk
        for finding in open_ones.iterator(chunk_size=AT_ONCE)
        if (finding.table, finding.key, finding.column) not in found
    ]
    for first in range(0, len(gone), AT_ONCE):
        Finding.objects.filter(pk__in=gone[first : first + AT_ONCE]).update(
            state=FindingState.REPAIRED, repaired_report=report
        )


def _place(row: RowMismatch) -> Place:
    return row.table, row.key, row.column


def came_back(rollout: Rollout) -> int:
    """How many open findings were right before: a sign of a wrong write path."""
    return Finding.objects.filter(
        rollout=rollout, state=FindingState.OPEN, regressions__gt=0
    ).count()
