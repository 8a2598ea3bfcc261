"""The activity log, whole or of one rollout, with its filters in the address."""

from typing import ClassVar

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.shortcuts import rollout_or_404, row_or_404
from rollout.console.lists.filters import Listed, ListFilter, choice, phase_choice
from rollout.console.lists.pages import page_of
from rollout.journal import activity_log
from rollout.journal.environments import names_there
from rollout.journal.events import Event
from rollout.models import LogEntry, Rollout
from rollout.plan import plans

MAX_ENTRIES_ON_PAGE = 50


class LogFilter(ListFilter):
    """What entries to show; texts match a part, in any case."""

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
    }

    def __init__(self, query: QueryDict, rollout: Rollout | None = None) -> None:
        """Of one ``rollout``, its plan and environment are not asked for."""
        super().__init__(query)
        if rollout is not None:
            del self.fields["plan"], self.fields["environment"]
            return
        # Besides those that are there the one that is asked for, where the journal knows it.
        gone = Rollout.objects.filter(
            plan=query.get("plan", ""), environment=query.get("environment", "")
        )
        named = gone.values_list("plan", "environment").first() or ()
        self.offer("plan", {plan.name for plan in plans}.union(named[:1]))
        self.offer("environment", names_there().union(named[1:]))

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        """The rows that match; an event by a part of its headline or of its stored name."""
        matching, part = super().of(rows), self.asked.get("event")
        if not part:
            return matching
        headlines = [event for event in Event if part.lower() in event.headline.lower()]
        return matching.filter(Q(event__icontains=part) | Q(event__in=headlines))


@may("view_rollout", anywhere=True)
@require_safe
def log(request: ConsoleRequest) -> HttpResponse:
    filters = LogFilter(request.GET)
    entries = LogEntry.objects.all()
    if not request.user.has_perm("rollout.view_rollout"):
        entries = entries.filter(environment__in=environments_seen_by(request.user, "view_rollout"))
    return _page(request, filters, filters.of(entries))


@may("view_rollout")
@require_safe
def of_rollout(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    filters = LogFilter(request.GET, rollout)
    return _page(request, filters, filters.of(_entries_of(rollout)), rollout=rollout)


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


def _page(
    request: ConsoleRequest, filters: LogFilter, matching: QuerySet[LogEntry], **more: object
) -> HttpResponse:
    entries = page_of(matching, request.GET, size=MAX_ENTRIES_ON_PAGE)
    return render(request, "rollout/log.html", {"filters": filters, "entries": entries, **more})
