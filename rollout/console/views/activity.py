"""The activity log, whole or of one rollout: filters, an entry, exports, and the chain's check."""

from datetime import datetime, timedelta
from functools import cached_property
from typing import ClassVar

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.links import page_of_ours
from rollout.console.http.shortcuts import rollout_or_404, row_or_404
from rollout.console.lists.filters import Listed, ListFilter, choice, phase_choice
from rollout.console.lists.pages import page_of
from rollout.console.views.downloads import streamed
from rollout.journal import activity_log
from rollout.journal.environments import names_there
from rollout.journal.events import Event
from rollout.models import LogCheck, LogEntry, Rollout
from rollout.plan import plans
from rollout.queries import log_exports
from rollout.queries.activity import (
    Line,
    lines_of,
    starts_of_runs_at,
    without_rehearsals,
    without_those_of_runs,
)
from rollout.queries.exports import as_csv
from rollout.runner.audits import verify_log

MAX_ENTRIES_ON_PAGE = 50
SPANS = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}


def _moment(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )


class LogFilter(ListFilter):
    """What entries to show; texts match a part, in any case."""

    show = forms.ChoiceField(
        required=False, choices=[("", "Runs and people"), ("all", "Every entry")]
    )
    within = forms.ChoiceField(
        required=False,
        label="Time",
        choices=[("", "Since the beginning"), *((name, of[0]) for name, of in SPANS.items())],
    )
    since = _moment("From")
    until = _moment("To")
    plan = choice([])
    environment = choice([])
    phase = phase_choice()
    actor = forms.CharField(required=False, max_length=150)
    event = forms.CharField(required=False, max_length=40)
    text = forms.CharField(required=False, max_length=200, label="Message")

    lookups: ClassVar = {
        "plan": "plan",
        "environment": "environment",
        "phase": "phase",
        "actor": "actor__icontains",
        "text": "message__icontains",
        "until": "at__lte",
    }

    def __init__(self, query: QueryDict, rollout: Rollout | None = None) -> None:
        """Without the fields plan and environment if the ``rollout`` is given."""
        super().__init__(query)
        if rollout is not None:
            del self.fields["plan"], self.fields["environment"]
            return
        # Besides those that are there the one that is requested, where the journal knows it.
        gone = Rollout.objects.filter(
            plan=query.get("plan", ""), environment=query.get("environment", "")
        )
        named = gone.values_list("plan", "environment").first() or ()
        self.offer("plan", {plan.name for plan in plans}.union(named[:1]))
        self.offer("environment", names_there().union(named[1:]))

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        """The rows that match; an event by a part of its headline or of its stored name."""
        return self._besides_beginning(rows).filter(self._in_range())

    def listed(self, rows: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        """The entries that lines are made of: of a run that is under way in the range its start."""
        matching = self._besides_beginning(rows)
        if not self.folds:
            return matching.filter(self._in_range())
        if not self.asked.get("environment"):
            matching = without_rehearsals(matching)
        under_way = starts_of_runs_at(self.beginning) if self.beginning else Q()
        return without_those_of_runs(matching).filter(self._in_range() | under_way)

    def _besides_beginning(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        matching, part = super().of(rows), self.asked.get("event")
        if not part:
            return matching
        headlines = [event for event in Event if part.lower() in event.headline.lower()]
        return matching.filter(Q(event__icontains=part) | Q(event__in=headlines))

    def _in_range(self) -> Q:
        return Q(at__gte=self.beginning) if self.beginning else Q()

    @property
    def folds(self) -> bool:
        """Whether a run is one line: who looks for an entry finds it by itself."""
        return not self.asked.keys() & {"show", "actor", "event", "text"}

    @cached_property
    def beginning(self) -> datetime | None:
        """From when, as the address says."""
        since: datetime | None = self.asked.get("since")
        span = SPANS.get(self.asked.get("within", ""))
        return since or (timezone.now() - span[1] if span else None)


@may("view_rollout", anywhere=True)
@require_safe
def log(request: ConsoleRequest) -> HttpResponse:
    return _page(request, LogFilter(request.GET), _entries_seen_by(request.user))


@may("view_rollout")
@require_safe
def of_rollout(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    filters = LogFilter(request.GET, rollout)
    return _page(request, filters, _entries_of(rollout), rollout=rollout)


@may("view_rollout", anywhere=True)
@require_safe
def export(request: ConsoleRequest, form: str) -> HttpResponse:
    return _export(LogFilter(request.GET).of(_entries_seen_by(request.user)), form, "activity")


@may("view_rollout")
@require_safe
def export_of_rollout(
    request: ConsoleRequest, plan: str, environment: str, form: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    entries = LogFilter(request.GET, rollout).of(_entries_of(rollout))
    return _export(entries, form, f"activity-{plan}-{environment}")


@may("audit_rollout", anywhere=True)
@require_POST
def verify(request: ConsoleRequest) -> HttpResponse:
    """Let the watchdog verify the chain again, from the first entry."""
    verify_log()
    messages.success(request, "Verification requested. The watchdog reads the whole log again.")
    return redirect(page_of_ours(request, request.POST.get("next", ""), reverse("rollout:log")))


@may("view_rollout")
@require_safe
def entry(request: ConsoleRequest, entry_id: int) -> HttpResponse:
    return _entry_page(request, LogEntry.objects.all(), entry_id)


@may("view_rollout")
@require_safe
def entry_of_rollout(
    request: ConsoleRequest, plan: str, environment: str, entry_id: int
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    return _entry_page(request, _entries_of(rollout), entry_id, rollout=rollout)


def _entries_seen_by(user: User) -> QuerySet[LogEntry]:
    if user.has_perm("rollout.view_rollout"):
        return LogEntry.objects.all()
    return LogEntry.objects.filter(environment__in=environments_seen_by(user, "view_rollout"))


def _entries_of(rollout: Rollout) -> QuerySet[LogEntry]:
    return LogEntry.objects.filter(plan=rollout.plan, environment=rollout.environment)


def _entry_page(
    request: ConsoleRequest, entries: QuerySet[LogEntry], entry_id: int, **more: object
) -> HttpResponse:
    """An entry with its data, and whether its hash is that of its content."""
    missing = f"Entry {entry_id} not found. Open the activity log."
    shown = row_or_404(entries, entry_id, missing)
    page = {"entry": shown, "intact": activity_log.digest(shown) == shown.hash, **more}
    return render(request, "rollout/log_entry.html", page)


def _export(entries: QuerySet[LogEntry], form: str, name: str) -> HttpResponse:
    rows = log_exports.rows_of(entries)
    if form == "csv":
        return streamed(as_csv(log_exports.for_csv(rows), log_exports.COLUMNS), form, name)
    return streamed(log_exports.as_json_lines(rows), form, name)


def _page(
    request: ConsoleRequest, filters: LogFilter, seen: QuerySet[LogEntry], **more: object
) -> HttpResponse:
    entries = page_of(filters.listed(seen), request.GET, size=MAX_ENTRIES_ON_PAGE)
    page = {
        "filters": filters,
        "entries": entries,
        "lines": lines_of(entries) if filters.folds else [Line(entry) for entry in entries],
        "check": LogCheck.objects.first(),
        **more,
    }
    return render(request, "rollout/log.html", page)
