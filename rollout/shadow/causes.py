"""What a difference between two answers means, by the rules of an audit, and where it is kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.utils import timezone

from rollout import gates, journal
from rollout.engine.audit import AuditResult, RowMismatch
from rollout.engine.audit.categories import worst
from rollout.engine.audit.some_rows import RowsNow, look_at
from rollout.journal import activity_log, findings
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.models import AuditMode, AuditReport, AuditStatus, Rollout
from rollout.plan import plans
from rollout.plan.step import BACKFILL
from rollout.shadow.answers import Difference

ANSWER_DIFFERS = "answer_differs"
"""Every row is as the mapping says, and yet the answers differ: the paths themselves do."""
ACTOR = "shadow reads"
TOGETHER = timedelta(hours=1)
"""One report holds what was found within so much time."""
MOST_ROWS = 50
"""So many rows of one difference are looked at and kept."""
MOST_IN_REPORT = 1000
UNFILLED = ("missing", "unmapped")

Settled = Literal["unfilled", "mapped", "differed"]


@dataclass(frozen=True)
class Scope:
    """What is compared: a table of a plan in a rollout."""

    rollout: int
    plan: str
    table: str


def settle(scope: Scope, operation: str, found: Sequence[Difference], *, write: bool) -> Settled:
    """Say what differences come from, and write down those that are to be mended."""
    rollout = Rollout.objects.get(pk=scope.rollout)
    keys = list(dict.fromkeys(one.key for one in found))[:MOST_ROWS]
    found = [one for one in found if one.key in keys]
    plan = plans.get(scope.plan)
    table = next(table for table in plan.audited_tables if table.label == scope.table)
    with target_of(rollout.environment).connect() as connection:
        connection.execute("SET statement_timeout = '3s'; SET lock_timeout = '500ms'")
        now = look_at(connection, plan, table, keys)
    filled = gates.is_done(gates.newest_runs(rollout).get(BACKFILL))
    wrong = [row for row in now.mismatches if filled or row.category not in UNFILLED]
    if not wrong:
        if now.mismatches:
            return "unfilled"
        unexplained = _unexplained(found, now)
        if not unexplained:
            return "mapped"
        wrong = [_differing(scope, one, now) for one in unexplained]
    if write:
        _write(rollout, plan.digest, operation, wrong[:MOST_ROWS], looked_at=len(keys))
    return "differed"


def _unexplained(found: Sequence[Difference], now: RowsNow) -> list[Difference]:
    """The differences that are no effect of the mapping.

    A row whose text means something else by the mapping is found by another search and sorted to
    another place; whoever asks for such a text finds all rows of its lookup row. Each that comes
    pushes one row off a page, each that goes lets one on, and rows between them move.
    """
    shown = [one for one in found if one.name and not _as_mapped(one, now)]
    gone = [one for one in found if not one.name and one.new is None]
    came = [one for one in found if not one.name and one.old is None]
    moved = [one for one in found if not one.name and one.old is not None and one.new is not None]
    may_come = now.mapped | now.joined
    pushed_off = sum(one.key in may_come for one in came)
    let_on = sum(one.key in now.mapped for one in gone)
    shown += [one for one in gone if one.key not in now.mapped][pushed_off:]
    shown += [one for one in came if one.key not in may_come][let_on:]
    if not any(one.key in now.mapped for one in moved):
        shown += moved
    return shown


def _as_mapped(one: Difference, now: RowsNow) -> bool:
    """Whether the new answer shows of a row what the mapping makes of its legacy text."""
    texts = now.texts.get(one.key, {})
    return one.name in texts and texts[one.name] == one.new


def _differing(scope: Scope, one: Difference, now: RowsNow) -> RowMismatch:
    return RowMismatch(
        table=scope.table,
        key=",".join(one.key),
        key_parts=list(one.key),
        column=one.name,
        category=ANSWER_DIFFERS,
        legacy=one.old,
        expected=now.texts.get(one.key, {}).get(one.name, one.old),
        actual=one.new,
    )


def _write(
    rollout: Rollout, digest: str, operation: str, rows: Sequence[RowMismatch], *, looked_at: int
) -> None:
    now = timezone.now()
    with journal.atomic():
        report = (
            AuditReport.objects.select_for_update()
            .filter(rollout=rollout, mode=AuditMode.SHADOW, started_at__gt=now - TOGETHER)
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
        # What is met again counts once; that it was met now is what the rules go by.
        report.finished_at = now
        report.save()
        known = set(report.found.values_list("table", "key", "column"))
        fresh = [row for row in rows if (row.table, row.key, row.column) not in known]
        if fresh and len(known) < MOST_IN_REPORT:
            _add(report, fresh, operation, seen={(table, key) for table, key, _ in known})
        if is_new:
            activity_log.record(
                Event.SHADOW_READ_DIFFERS,
                f"A {operation} was answered differently by the new shape: "
                f"{report.mismatched:,} rows mismatch (report {report.pk}).",
                on=report,
                actor=ACTOR,
                source="application",
                operation=operation,
                looked_at=looked_at,
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
    report.status = (
        AuditStatus.MISMATCHED if report.mismatched > report.waived else AuditStatus.CLEAN
    )
    report.save()


def _worst(categories: list[str]) -> str:
    of_audit = [name for name in categories if name != ANSWER_DIFFERS]
    return worst(of_audit) if of_audit else ANSWER_DIFFERS
