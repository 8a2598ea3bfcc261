"""Two reports side by side: categories, and the pairs of values whose rows differ."""

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.charts.crosstabs import Share
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import audit_or_404
from rollout.models import AuditReport, AuditStatus

MAX_PAIRS = 200


@dataclass(frozen=True)
class Difference:
    """A category or a pair of values, with its rows in either report."""

    share: Share
    before: int
    after: int
    column: str = ""
    legacy: str | None = None
    new: str | None = None
    is_of_lookup: bool = True
    """Whether its values are told apart; a report has only the categories of other columns."""

    @property
    def change(self) -> int:
        return self.after - self.before


@may("view_rollout")
@require_safe
def compare(request: ConsoleRequest, audit_id: int, other_id: int) -> HttpResponse:
    earlier, later = sorted((audit_or_404(audit_id), audit_or_404(other_id)), key=lambda r: r.pk)
    if earlier.rollout_id != later.rollout_id:
        raise Http404("Audits of two rollouts cannot be compared. Choose two of the same rollout.")
    for report in (earlier, later):
        if report.status == AuditStatus.RUNNING:
            raise Http404(f"Audit {report.pk} is still running. Wait for its report.")
    cells = _cells(earlier, later)
    mapping_changed = earlier.mapping_digest != later.mapping_digest
    page = {
        "rollout": earlier.rollout,
        "earlier": earlier,
        "later": later,
        "change": later.rows - earlier.rows,
        # What the triggers map by themselves changes the digest too.
        "decided": mapping_changed and earlier.mapping_at != later.mapping_at,
        "mapped": mapping_changed and earlier.mapping_at == later.mapping_at,
        "categories": _categories(earlier, later),
        "cells": cells[:MAX_PAIRS],
        "left_out": len(cells[MAX_PAIRS:]),
    }
    return render(request, "rollout/compare.html", page)


def _categories(earlier: AuditReport, later: AuditReport) -> list[Difference]:
    names = {*earlier.categories, *later.categories}
    differences = [
        Difference(
            Share(name, later.categories.get(name, 0)),
            earlier.categories.get(name, 0),
            later.categories.get(name, 0),
        )
        for name in names
    ]
    return sorted(differences, key=lambda d: (d.share.matched, -abs(d.change), d.share.name))


Pair = tuple[str, str | None, str | None, str]


def _cells(earlier: AuditReport, later: AuditReport) -> list[Difference]:
    before, after = _rows(earlier), _rows(later)
    lookups = {
        translation["column"]
        for translation in (*earlier.translations, *later.translations)
        if translation["lookup_table"]
    }
    differences = [
        Difference(
            Share(pair[3], after.get(pair, 0)),
            before.get(pair, 0),
            after.get(pair, 0),
            *pair[:3],
            is_of_lookup=pair[0] in lookups,
        )
        for pair in {*before, *after}
        if before.get(pair, 0) != after.get(pair, 0)
    ]
    return sorted(
        differences, key=lambda d: (d.share.matched, -abs(d.change), d.column, d.legacy or "")
    )


def _rows(report: AuditReport) -> dict[Pair, int]:
    return {
        (translation["column"], cell["legacy"], cell["new"], cell["category"]): cell["rows"]
        for translation in report.translations
        for cell in translation["cells"]
    }
