"""A mismatching row through all the reports that found it, and accepting it for a while."""

from datetime import date, datetime, time

import psycopg
from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.links import row_url
from rollout.console.http.shortcuts import finding_or_404
from rollout.console.views.runs import perform
from rollout.engine.target import reason_of
from rollout.journal.audits import ASKING_PEOPLE
from rollout.models import Finding
from rollout.plan.registry import UnknownPlan
from rollout.queries.inboxes import decisions_url
from rollout.queries.write_paths import write_path_at
from rollout.runner.reasons import LONGEST_REASON
from rollout.worker.audits import row_now


class WaiverForm(forms.Form):
    """Why a mismatch is accepted, and until which day."""

    reason = forms.CharField(
        label="Reason", max_length=LONGEST_REASON, widget=forms.Textarea({"rows": 2})
    )
    until = forms.DateField(
        label="Waive until the end of", widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )


@may("view_rollout")
@require_safe
def finding(request: ConsoleRequest, finding_id: int) -> HttpResponse:
    return _page(request, finding_or_404(finding_id), WaiverForm())


@may("waive_mismatch")
@require_POST
def waive(request: ConsoleRequest, finding_id: int) -> HttpResponse:
    finding = finding_or_404(finding_id)
    form = WaiverForm(request.POST)
    if not form.is_valid():
        return _page(request, finding, form, status=422)
    if not perform(
        request,
        lambda: runner.waive(
            finding,
            reason=form.cleaned_data["reason"],
            until=_end_of(form.cleaned_data["until"]),
            actor=request.user,
        ),
        "Mismatch waived. The next audit counts it as waived.",
    ):
        return _page(request, finding, form, status=422)
    return redirect(finding)


@may("waive_mismatch")
@require_POST
def unwaive(request: ConsoleRequest, finding_id: int) -> HttpResponse:
    finding = finding_or_404(finding_id)
    perform(request, lambda: runner.unwaive(finding, actor=request.user), "Waiver removed.")
    return redirect(finding)


def _page(
    request: ConsoleRequest, finding: Finding, form: WaiverForm, *, status: int = 200
) -> HttpResponse:
    history = list(finding.mismatches.select_related("report").order_by("-report_id")[:50])
    newest = history[0] if history else None
    now, unknown = None, ""
    if newest is not None:
        try:
            now = row_now(finding.rollout, finding.table, newest.key_parts)
        except UnknownPlan as error:
            unknown = str(error)
        except psycopg.Error as error:
            unknown = f"Couldn't read the row. {reason_of(error)}"
    page = {
        "finding": finding,
        "rollout": finding.rollout,
        "history": history,
        "newest": newest,
        "now": now,
        "path": write_path_at(finding.rollout, finding.table, now.written_at)
        if now and now.written_at
        else None,
        "unknown": unknown,
        "decide_at": decisions_url(finding.rollout)
        if newest is not None and newest.category in ASKING_PEOPLE
        else "",
        "url": row_url(finding.table, finding.key),
        "waived": finding.waived_until is not None and finding.waived_until > timezone.now(),
        "form": form,
    }
    return render(request, "rollout/finding.html", page, status=status)


def _end_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.max))
