"""Audits: the list of a rollout's, and the report of one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from django import forms
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from rollout import gates, runner
from rollout.console.badges import labels_of
from rollout.console.charts.cells import to_cells
from rollout.console.charts.crosstabs import (
    MAX_PAIRS,
    MAX_RANKED,
    MAX_WRONG,
    cell_at,
    crosstabs,
    shares,
)
from rollout.console.charts.matrices import matrix_of
from rollout.console.charts.trends import trend_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import FAST, cache_fragment, reload_seconds, render_live
from rollout.console.http.inputs import errors_of
from rollout.console.http.links import rollout_url, row_url
from rollout.console.http.shortcuts import audit_or_404, rollout_or_404
from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import BY_AGE, Order, page_of
from rollout.console.views.runs import perform, redirect_back
from rollout.engine.audit import MATCHED
from rollout.engine.target import reason_of
from rollout.gates.facts import Facts
from rollout.journal.audits import against, asks_people, clean_since
from rollout.journal.findings import came_back
from rollout.journal.heartbeats import Liveness, liveness
from rollout.journal.labels import category_label
from rollout.journal.moments import in_words
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    Direction,
    MismatchState,
    RunState,
)
from rollout.plan import plans
from rollout.plan.plan import BACKFILL, ENFORCE
from rollout.plan.registry import UnknownPlan
from rollout.queries.inboxes import decisions_url
from rollout.queries.sample_bounds import statement_of
from rollout.queries.status import summaries_of
from rollout.runner.audits import LARGEST_SAMPLE
from rollout.watchdog.sampled_audits import NextSample, next_sample
from rollout.worker.audits import LARGEST_SEED, keys_now

ORDERS = (
    *BY_AGE,
    Order("most-mismatches", "Most mismatches first", "mismatched", descending=True),
    Order("fewest-mismatches", "Fewest mismatches first", "mismatched"),
)
ORDERS_OF_ROWS = (
    Order("first-found", "First found"),
    Order("last-found", "Last found", descending=True),
    Order("by-column", "By column", "column"),
    Order("by-category", "By category", "category"),
)
MAX_ROWS_ALIKE = 25
COMPARED = (AuditStatus.CLEAN, AuditStatus.MISMATCHED)


class AuditFilter(ListFilter):
    """Which audits are listed."""

    mode = choice(AuditMode.choices, "Kind")
    status = choice(labels_of("audit"), "Result")
    lookups: ClassVar = {"mode": "mode", "status": "status"}


class MismatchFilter(ListFilter):
    """Which of a report's rows are listed; a cell of its matrix narrows them further."""

    key = forms.CharField(required=False, max_length=200, label="Row key")
    column = choice([])
    category = choice([])
    state = choice(MismatchState.choices, "State")
    lookups: ClassVar = {
        "key": "key__startswith",
        "column": "column",
        "category": "category",
        "state": "state",
    }

    def __init__(self, query: QueryDict, report: AuditReport) -> None:
        super().__init__(query)
        pairs = set(report.found.order_by().values_list("column", "category").distinct())
        for translation in report.translations:
            pairs |= {(translation["column"], category) for category in translation["categories"]}
        self.offer("column", {column for column, _ in pairs if column})
        self.offer(
            "category", {category for _, category in pairs}.difference(MATCHED), category_label
        )


class SampleForm(forms.Form):
    """How many rows of each table to pick at random, and by which seed."""

    sample = forms.IntegerField(
        label="Rows of each table", min_value=1, max_value=LARGEST_SAMPLE, initial=10_000
    )
    seed = forms.IntegerField(
        label="Seed",
        min_value=0,
        max_value=LARGEST_SEED,
        required=False,
        help_text="The same seed picks the same rows. Leave empty for a new one.",
    )


@may("view_rollout", to_post="audit_rollout")
@require_http_methods(["GET", "HEAD", "POST"])
@cache_fragment
def audits(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    if request.method == "POST":
        form = SampleForm(request.POST)
        sampled = "sample" in request.POST
        if sampled and not form.is_valid():
            messages.error(request, errors_of(form))
            return redirect("rollout:audits", plan, environment)
        chosen = form.cleaned_data if sampled else {}
        perform(
            request,
            lambda: runner.start_audit(rollout, actor=request.user, **chosen),
            f"{'Sampled' if sampled else 'Full'} audit started. Its report appears below.",
        )
        return redirect_back(request, rollout_url(rollout, "audits"))
    filters = AuditFilter(request.GET)
    matching = filters.of(AuditReport.objects.filter(rollout=rollout))
    reports = page_of(matching, request.GET, size=25, orders=ORDERS)
    alive = liveness()
    (status,) = summaries_of([rollout])
    page = {
        "rollout": rollout,
        "status": status,
        **shown_sample(next_sample(rollout, status.runs), alive),
        "filters": filters,
        "reports": reports,
        "form": SampleForm(),
        "trend": trend_of(rollout),
        "came_back": came_back(rollout),
        "newest": AuditReport.objects.filter(rollout=rollout, status__in=COMPARED)
        .exclude(mode=AuditMode.SHADOW)
        .first(),
        "liveness": alive,
        "live": reload_seconds(any(report.status == AuditStatus.RUNNING for report in reports)),
    }
    return render_live(request, "audits", page)


def shown_sample(sample: NextSample | None, alive: Liveness) -> dict[str, object]:
    """What a page says of the next scheduled sample."""
    late = sample is not None and sample.is_overdue
    return {
        "sample": sample,
        "overdue_because": sample.overdue_because(alive) if sample is not None and late else "",
    }


@may("view_rollout")
@require_safe
@cache_fragment
def audit(request: ConsoleRequest, audit_id: int) -> HttpResponse:
    report = audit_or_404(audit_id)
    running = report.status == AuditStatus.RUNNING
    filters = MismatchFilter(request.GET, report)
    matching = filters.of(report.found.select_related("finding"))
    cell = cell_at(report, request.GET.get("cell", ""))
    if cell is not None:
        matching = matching.filter(
            column=cell["column"],
            category=cell["category"],
            legacy=cell["legacy"],
            actual=cell["new"],
        )
    mismatches = page_of(matching, request.GET, size=25, orders=ORDERS_OF_ROWS)
    alike = _rows_alike(report, cell) if cell and cell["category"] in MATCHED else None
    tables = crosstabs(report)
    facts = _facts_about(report)
    to_update = facts.rows_to_update(report) if facts else None
    reviews = report.rollout.mapping_changes.filter(at__gt=report.started_at)
    reviewed_since = reviews.exists()
    page = {
        "report": report,
        "report_card": f"rollout/report/{report.status}.html",
        "rollout": report.rollout,
        "shares": shares(report.categories),
        "wrong": [table for table in tables if table.mismatched],
        "crosstabs": [(t, matrix_of(t.all_cells)) for t in tables if t.lookup_table and t.rows],
        "derived": [table for table in tables if not table.lookup_table and table.rows],
        "to_cells": to_cells(request.GET),
        "max_pairs": MAX_PAIRS,
        "max_wrong": MAX_WRONG,
        "max_ranked": MAX_RANKED,
        "mismatches": mismatches,
        "rows": [(mismatch, row_url(mismatch.table, mismatch.key)) for mismatch in mismatches],
        "filters": filters,
        "conflicts": [
            {
                **writes,
                "at": datetime.fromisoformat(writes["at"]),
                "key": (key := ",".join(writes["key"])),
                "url": row_url(writes["table"], key),
            }
            for writes in report.conflicting_writes
        ],
        "cell": cell,
        "alike": alike,
        "newer": facts.audit_is_older_than(report) if facts and not to_update else "",
        "settled": _settled(report),
        "decide_at": decisions_url(report.rollout),
        "asks_people": asks_people(report),
        "compared": against(report, is_reviewed_since=reviewed_since),
        "reviewed_since": reviewed_since,
        "statement": statement_of(report),
        "to_update": to_update,
        "time_left": _time_left(report) if running else None,
        "before": _one_before(report),
        "trend": trend_of(report.rollout) if report.mode == AuditMode.FULL else None,
        "liveness": liveness() if running else None,
        "live": FAST if running else 0,
    }
    return render_live(request, "audit", page)


@dataclass(frozen=True)
class Alike:
    """Some rows of a cell that matches, which no report keeps: read now, with their pages."""

    rows: list[tuple[str, str]]
    unknown: str = ""


def _rows_alike(report: AuditReport, cell: dict[str, Any]) -> Alike:
    place = cell["table"], cell["column"], cell["legacy"], cell["new"]
    try:
        keys = keys_now(report.rollout, *place, at_most=MAX_ROWS_ALIKE)
    except UnknownPlan as error:
        return Alike([], str(error))
    except psycopg.Error as error:
        return Alike([], f"Couldn't read these rows. {reason_of(error)}")
    return Alike([(key, row_url(cell["table"], key)) for key in keys])


def _facts_about(report: AuditReport) -> Facts | None:
    """What may have come after a clean audit of every row; None of another audit."""
    if report.status != AuditStatus.CLEAN or report.mode != AuditMode.FULL or report.tables:
        return None
    if plans.find(report.rollout.plan) is None:
        # Nothing counts any more that was audited for a plan which is gone.
        return None
    return gates.Evidence(report.rollout, ENFORCE).facts


def _settled(report: AuditReport) -> str:
    """Why nothing of a mismatched audit is left to repair; empty if something may be."""
    if report.status != AuditStatus.MISMATCHED:
        return ""
    if (clean := clean_since(report)) is not None:
        at = in_words(clean.finished_at or clean.started_at)
        return f"Audit {clean.pk} of {at} is clean: nothing of this audit is left to repair."
    backfill = gates.newest_runs(report.rollout).get(BACKFILL)
    if backfill is None or backfill.direction != Direction.BACKWARD:
        return ""
    if backfill.state != RunState.DONE:
        return ""
    if backfill.finished_at is None or backfill.finished_at < report.started_at:
        return ""
    return f"Phase {BACKFILL} was rolled back since: nothing of this audit is left to repair."


def _one_before(report: AuditReport) -> AuditReport | None:
    """The report before, of the same kind: to compare with."""
    return (
        AuditReport.objects.filter(rollout=report.rollout, mode=report.mode, pk__lt=report.pk)
        .exclude(status__in=(AuditStatus.RUNNING, AuditStatus.INCONCLUSIVE))
        .first()
    )


def _time_left(report: AuditReport) -> float | None:
    """Seconds, by the blocks read so far; None before the first of them."""
    if not report.blocks_done:
        return None
    gone = (timezone.now() - report.started_at).total_seconds()
    return gone * (report.blocks - report.blocks_done) / report.blocks_done
