"""What shadow reads came to, as the monitoring page shows it, and the form for their share."""

from dataclasses import dataclass, field
from datetime import datetime

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.inputs import errors_of
from rollout.console.http.shortcuts import rollout_or_404
from rollout.console.views.runs import perform, redirect_back
from rollout.journal.labels import CAUSES
from rollout.models import Rollout, ShadowTally
from rollout.telemetry.histograms import Histogram


class ShareForm(forms.Form):
    """Which share of the reads is answered by both shapes."""

    percent = forms.FloatField(
        label="Sample rate (%)",
        min_value=0,
        max_value=100,
        widget=forms.NumberInput({"step": "any"}),
        error_messages={
            "required": "Enter a percentage from 0 to 100.",
            "invalid": "Enter a percentage from 0 to 100.",
            "min_value": "Enter a percentage from 0 to 100.",
            "max_value": "Enter a percentage from 0 to 100.",
        },
    )


@dataclass
class ShadowRow:
    """An operation's shadow reads in a span of time."""

    operation: str
    compared: int = 0
    same: int = 0
    differed: int = 0
    failed: int = 0
    skipped: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    error: str = ""
    old: Histogram = field(default_factory=Histogram)
    new: Histogram = field(default_factory=Histogram)

    def add(self, tally: ShadowTally) -> None:
        self.compared += tally.compared
        self.same += tally.same
        self.differed += tally.differed
        self.failed += tally.failed
        self.skipped += tally.skipped
        for name in CAUSES:
            if count := getattr(tally, name):
                self.explained[name] = self.explained.get(name, 0) + count
        self.error = tally.error or self.error
        self.old.merge(Histogram.of_json(tally.old_durations))
        self.new.merge(Histogram.of_json(tally.new_durations))

    @property
    def old_p95(self) -> float | None:
        return _milliseconds(self.old)

    @property
    def new_p95(self) -> float | None:
        return _milliseconds(self.new)

    @property
    def difference(self) -> float | None:
        if self.old_p95 is None or self.new_p95 is None:
            return None
        return self.new_p95 - self.old_p95

    @property
    def explanations(self) -> list[tuple[int, str]]:
        """How many differences of each kind are no mismatch, and why."""
        return [(count, CAUSES[name]) for name, count in self.explained.items()]


@dataclass(frozen=True)
class ShadowCard:
    """Shadow reads as a card of the page."""

    percent: float
    both: bool
    rows: list[ShadowRow]
    report: int | None
    """The newest with what was found in the time."""
    form: ShareForm


def shadow_card(
    rollout: Rollout, *, both: bool, report: int | None, since: datetime, until: datetime
) -> ShadowCard:
    """What shadow reads came to in a span of time."""
    rows: dict[str, ShadowRow] = {}
    for tally in ShadowTally.objects.filter(rollout=rollout, at__gte=since, at__lt=until):
        rows.setdefault(tally.operation, ShadowRow(tally.operation)).add(tally)
    return ShadowCard(
        percent=rollout.shadow_percent,
        both=both,
        rows=[rows[name] for name in sorted(rows)],
        report=report,
        form=ShareForm(initial={"percent": f"{rollout.shadow_percent:g}"}),
    )


@may("start_rollout")
@require_POST
def share(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    form = ShareForm(request.POST)
    if not form.is_valid():
        messages.error(request, errors_of(form))
        return redirect_back(request, rollout)
    percent = form.cleaned_data["percent"]
    perform(
        request,
        lambda: runner.set_shadow_percent(rollout, percent, actor=request.user),
        f"Shadow read sample rate set to {percent:g} %. It takes effect within seconds.",
    )
    return redirect_back(request, rollout)


def _milliseconds(histogram: Histogram) -> float | None:
    seconds = histogram.quantile(0.95)
    return None if seconds is None else seconds * 1000
