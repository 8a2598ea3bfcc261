"""The audit log, with its filters in the address."""

from typing import ClassVar

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.lists.filters import Listed, ListFilter, choice, phase_choice
from rollout.console.lists.pages import page_of
from rollout.journal.environments import names_there
from rollout.journal.events import Event
from rollout.models import LogEntry, Rollout
from rollout.plan import plans


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

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query)
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
    matching = filters.of(LogEntry.objects.all())
    if not request.user.has_perm("rollout.view_rollout"):
        matching = matching.filter(
            environment__in=environments_seen_by(request.user, "view_rollout")
        )
    entries = page_of(matching, request.GET, size=50)
    page = {"filters": filters, "entries": entries}
    return render(request, "rollout/log.html", page)
