"""Why two answers differ, by the rules of an audit; rows to repair are reported."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.utils import timezone

from rollout import gates, journal
from rollout.engine.audit import AuditResult, RowMismatch
from rollout.engine.audit.categories import worst
from rollout.engine.audit.row_checks import RowsNow, check_rows
from rollout.journal import activity_log, findings
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.transitions import move
from rollout.logs.texts import counted
from rollout.models import AuditMode, AuditReport, AuditStatus, Rollout
from rollout.plan import plans
from rollout.plan.plan import BACKFILL
from rollout.shadow.answers import Difference

# The category of rows that are as the mapping says while the answers differ: the code paths do.
ANSWER_DIFFERS = "answer_differs"
ACTOR = "shadow reads"
# What one report covers.
REPORT_SPAN = timedelta(hours=1)
# Rows that are read and stored of one comparison.
MAX_ROWS = 50
MAX_ROWS_OF_REPORT = 1000
UNFILLED = ("missing", "unmapped")

Cause = Literal["unfilled", "mapped", "differed"]


@dataclass(frozen=True)
class Scope:
    """What is compared: a table of a plan in a rollout."""

    rollout: int
    plan: str
    table: str


def cause_of(
    scope: Scope, operation: str, differences: Sequence[Difference], *, report: bool
) -> Cause:
    """Find out why two answers differ; ``report`` the rows to repair."""
    rollout = Rollout.objects.get(pk=scope.rollout)
    keys = list(dict.fromkeys(difference.key for difference in differences))[:MAX_ROWS]
    differences = [difference for difference in differences if difference.key in keys]
    plan = plans.get(scope.plan)
    table = next(table for table in plan.audited_tables if table.label == scope.table)
    with target_of(rollout.environment).connect_briefly() as connection:
        connection.execute("SET lock_timeout = '500ms'")
        now = check_rows(connection, plan, table, keys)
    filled = gates.is_done(gates.newest_runs(rollout).get(BACKFILL))
    wrong = [row for row in now.mismatches if filled or row.category not in UNFILLED]
    if not wrong:
        if now.mismatches:
            return "unfilled"
        unexplained = _unexplained(differences, now)
        if not unexplained:
            return "mapped"
        wrong = [_differing(scope, difference, now) for difference in unexplained]
    if report:
        _report(rollout, plan.digest, operation, wrong[:MAX_ROWS], read=len(keys))
    return "differed"


def _unexplained(differences: Sequence[Difference], now: RowsNow) -> list[Difference]:
    """The differences that the mapping does not explain.

    A row whose text means something else by the mapping is found by another search and sorted to
    another place; a search for such a text finds all rows of its lookup row. Each that comes
    pushes one row off a page, each that goes lets one on, and rows between them move.
    """
    shown = [d for d in differences if d.name and not _as_mapped(d, now)]
    places = [d for d in differences if not d.name]
    gone = [d for d in places if d.new is None]
    came = [d for d in places if d.old is None]
    moved = [d for d in places if d.old is not None and d.new is not None]
    may_come = now.mapped | now.joined
    pushed_off = sum(d.key in may_come for d in came)
    let_on = sum(d.key in now.mapped for d in gone)
    shown += [d for d in gone if d.key not in now.mapped][pushed_off:]
    shown += [d for d in came if d.key not in may_come][let_on:]
    if not any(d.key in now.mapped for d in moved):
        shown += moved
    return shown


def _as_mapped(difference: Difference, now: RowsNow) -> bool:
    """Whether the new answer shows of a row what the mapping makes of its legacy text."""
    texts = now.texts.get(difference.key, {})
    return difference.name in texts and texts[difference.name] == difference.new


def _differing(scope: Scope, difference: Difference, now: RowsNow) -> RowMismatch:
    return RowMismatch(
        table=scope.table,
        key=",".join(difference.key),
        key_parts=list(difference.key),
        column=difference.name,
        category=ANSWER_DIFFERS,
        legacy=difference.old,
        expected=now.texts.get(difference.key, {}).get(difference.name, difference.old),
        actual=difference.new,
    )


def _report(
    rollout: Rollout, digest: str, operation: str, rows: Sequence[RowMismatch], *, read: int
) -> None:
    now = timezone.now()
    with journal.atomic():
        report = (
            AuditReport.objects.select_for_update()
            .filter(rollout=rollout, mode=AuditMode.SHADOW, started_at__gt=now - REPORT_SPAN)
            .first()
        )
        is_new = report is None
        if report is None:
            report = AuditReport(
                rollout=rollout,
                mode=AuditMode.SHADOW,
                status=AuditStatus.MISMATCHED,
                plan_digest=digest,
                actor_name=ACTOR,
                started_at=now,
            )
        # A row that is met again counts once; guardrails go by when it was met last.
        report.finished_at = now
        report.save()
        known = set(report.found.values_list("table", "key", "column"))
        fresh = [row for row in rows if (row.table, row.key, row.column) not in known]
        if fresh and len(known) < MAX_ROWS_OF_REPORT:
            _add(report, fresh, operation, seen={(table, key) for table, key, _ in known})
        if is_new:
            activity_log.record(
                Event.SHADOW_READ_DIFFERS,
                f"Shadow read of {operation} differs: "
                f"{counted(report.mismatched, 'row', 'mismatch')} (report "
                f"{report.pk}).",
                on=report,
                actor=ACTOR,
                source="application",
                operation=operation,
                read=read,
                categories=report.categories,
            )


def _add(
    report: AuditReport,
    rows: Sequence[RowMismatch],
    operation: str,
    *,
    seen: set[tuple[str, str]],
) -> None:
    by_row: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        by_row.setdefault((row.table, row.key), []).append(row.category)
    counts = Counter(
        _worst(categories) for place, categories in by_row.items() if place not in seen
    )
    of_audit = [row for row in rows if row.category != ANSWER_DIFFERS]
    waived = report.waived
    findings.settle(report, AuditResult(mismatches=of_audit), operation=operation)
    report.waived += waived
    findings.note(
        report, [row for row in rows if row.category == ANSWER_DIFFERS], operation=operation
    )
    report.categories = dict(Counter(report.categories) + counts)
    report.rows = report.mismatched = report.mismatched + counts.total()
    report.stored_mismatches += len(rows)
    report.save()
    move(
        report,
        AuditStatus.MISMATCHED if report.mismatched > report.waived else AuditStatus.CLEAN,
    )


def _worst(categories: list[str]) -> str:
    of_audit = [name for name in categories if name != ANSWER_DIFFERS]
    return worst(of_audit) if of_audit else ANSWER_DIFFERS
