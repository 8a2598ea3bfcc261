"""The audit log, with its filters in the address."""

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.access import ConsoleRequest, environments_seen_by, may
from rollout.console.paging import page_of
from rollout.environments import names_there
from rollout.models import LogEntry
from rollout.plan import plans
from rollout.plan.plan import ROLES

ANY = [("", "Any")]


class LogFilter(forms.Form):
    """What entries to show. Every field may stay empty; texts match a part, in any case."""

    plan = forms.ChoiceField(required=False)
    environment = forms.ChoiceField(required=False)
    phase = forms.ChoiceField(
        required=False,
        choices=ANY + [(str(number), f"{number} {role}") for number, role in enumerate(ROLES)],
    )
    actor = forms.CharField(required=False, max_length=150)
    event = forms.CharField(required=False, max_length=40)
    text = forms.CharField(required=False, max_length=200, label="Message")

    lookups = {
        "plan": "plan",
        "environment": "environment",
        "phase": "phase",
        "actor": "actor__icontains",
        "event": "event__icontains",
        "text": "message__icontains",
    }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        choices = {"plan": (plan.name for plan in plans), "environment": names_there()}
        for name, values in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = ANY + [(value, value) for value in sorted(values)]

    def entries(self) -> QuerySet[LogEntry]:
        """The entries that match; none while a filter cannot be understood."""
        if not self.is_valid():
            return LogEntry.objects.none()
        asked = {self.lookups[name]: value for name, value in self.cleaned_data.items() if value}
        return LogEntry.objects.filter(**asked)


@may("view_rollout", anywhere=True)
@require_safe
def log(request: ConsoleRequest) -> HttpResponse:
    filters = LogFilter(request.GET)
    found = filters.entries()
    if not request.user.has_perm("rollout.view_rollout"):
        found = found.filter(environment__in=environments_seen_by(request.user, "view_rollout"))
    entries = page_of(found, request.GET, size=50)
    page = {
        "filters": filters,
        "entries": entries,
        "filtered": any(request.GET.get(name) for name in filters.fields),
    }
    return render(request, "rollout/log.html", page)
