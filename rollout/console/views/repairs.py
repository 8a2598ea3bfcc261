"""A repair: what it would do, and starting it."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.inputs import number_in
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import audit_or_404, finding_or_404
from rollout.console.views.runs import perform
from rollout.engine.repair.cells import ADVICE
from rollout.models import AuditReport
from rollout.plan import plans
from rollout.plan.translations import Lookup
from rollout.queries.inboxes import decisions_url
from rollout.runner.repairs import RepairPreview


@may("repair_rows")
@confirmed_recently()
@require_http_methods(["GET", "HEAD", "POST"])
def repair(request: ConsoleRequest, audit_id: int) -> HttpResponse:
    """Before: which rows, which values, which SQL. A POST starts it."""
    report = audit_or_404(audit_id)
    asked = request.POST if request.method == "POST" else request.GET
    table, selection = _selected(report, {name: asked.get(name, "") for name in FIELDS})
    if request.method == "POST":
        perform(
            request,
            lambda: runner.repair(
                report.rollout, table=table, selection=selection, report=report, actor=request.user
            ),
            "Repair started. A full audit runs when it is done.",
        )
        return redirect(report.rollout)
    preview = runner.preview_repair(report.rollout, table, selection)
    page = {
        "report": report,
        "rollout": report.rollout,
        "table": table or _only_table(preview),
        "selection": selection,
        "fields": {name: asked.get(name, "") for name in FIELDS if asked.get(name)},
        "preview": preview,
        "to_review": _to_review(report, preview),
        "decide_at": _decide_at(report, preview),
    }
    return render(request, "rollout/repair.html", page)


def _only_table(preview: RepairPreview) -> str:
    """The table that all rows of a repair are in; empty where they are in several."""
    tables = {cell["table"] for cell in preview.cells}
    return tables.pop() if len(tables) == 1 else ""


def _to_review(report: AuditReport, preview: RepairPreview) -> list[Lookup]:
    """The lookups of which people have to decide something before their rows can be repaired."""
    waiting = {(c["table"], c["column"]) for c in preview.cells if c["category"] in ADVICE}
    lookups = plans.get(report.rollout.plan).lookups
    return [x for x in lookups if (x.table.label, x.column) in waiting]


def _decide_at(report: AuditReport, preview: RepairPreview) -> str:
    """The page of the decisions that its rows wait for; empty if they wait for none."""
    is_asked = any(cell["category"] == "undecided" for cell in preview.cells)
    return decisions_url(report.rollout) if is_asked else ""


FIELDS = ("table", "column", "category", "finding")


def _selected(report: AuditReport, asked: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The table and the selection that an address or a form names."""
    if asked["finding"]:
        number = number_in(asked["finding"])
        if number is None:
            raise Http404("A finding has a number. Open a mismatched row from its audit's page.")
        finding = finding_or_404(number)
        newest = finding.mismatches.order_by("-report_id").first()
        if finding.rollout_id != report.rollout_id or newest is None:
            raise Http404("This finding is another rollout's. Open it from its own audit.")
        return finding.table, {"columns": [finding.column], "keys": [newest.key_parts]}
    tables = {translation["table"] for translation in report.translations}
    if not asked["table"] and not asked["column"] and not asked["category"]:
        return "", {}
    if asked["table"] not in tables:
        known = ", ".join(sorted(tables)) or "no table"
        raise Http404(f"Audit {report.pk} covers {known}. Choose a table of it.")
    selection: dict[str, Any] = {}
    if asked["column"]:
        selection["columns"] = [asked["column"]]
    if asked["category"]:
        selection["categories"] = [asked["category"]]
    return asked["table"], selection
