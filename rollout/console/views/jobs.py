"""Backfill jobs: the list, the page of a job, its throttle settings and its quarantine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from django import forms
from django.contrib import messages
from django.db.models import Case, QuerySet, When
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from rollout import runner
from rollout.console import job_histories
from rollout.console.charts.bars import MIN_LOSS_SECONDS, Chart, chart_of, with_application
from rollout.console.current_phases import JobView
from rollout.console.formats import byte_size, duration, milliseconds, number, slows_down
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import FAST, cache_fragment, render_live
from rollout.console.http.links import row_url
from rollout.console.http.shortcuts import job_or_404, rollout_or_404
from rollout.console.lists.filters import Listed, ListFilter, choice, phase_choice
from rollout.console.lists.pages import BY_AGE, Order, page_of
from rollout.console.views.runs import perform
from rollout.engine import commit_latencies
from rollout.engine.health import Signal
from rollout.engine.pace_records import PastThrottle
from rollout.engine.quarantine import PoisonRow
from rollout.journal.environments import DEFAULT
from rollout.journal.events import Event
from rollout.journal.heartbeats import liveness
from rollout.journal.labels import JOBS
from rollout.models import WORKING, BackfillJob, LogEntry, RunState
from rollout.plan import plans
from rollout.plan.guardrails import Guardrail
from rollout.plan.proofs import Proof
from rollout.queries.pauses import pause_of
from rollout.queries.progress import JobReport, report_of
from rollout.telemetry import signals
from rollout.telemetry.operation_stats import over_time

# Log events: a retry of quarantined rows was requested, and was made.
RETRY_ASKED, RETRY_DONE = Event.QUARANTINE_RETRY, Event.QUARANTINE_RETRIED
# A page waits no longer for the result of a retry.
MAX_RETRY_TIME = timedelta(minutes=2)


def _whole_number(
    label: str, least: int, most: int, help_text: str, *, required: bool = True
) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=required,
        min_value=least,
        max_value=most,
        help_text=help_text.format(f"{least:,}", f"{most:,}"),
        error_messages={
            "required": "Enter a number.",
            "invalid": "Enter a whole number.",
            "min_value": f"Minimum is {least:,}.",
            "max_value": f"Maximum is {most:,}.",
        },
    )


class PaceForm(forms.Form):
    """How fast a job goes. The runner has the last word on what is possible."""

    target_ms = _whole_number(
        "Batch target", 10, 2000, "Longest time a row may be locked: {}–{} ms."
    )
    duty_percent = _whole_number("Duty cycle", 5, 100, "Share of time spent working: {}–{} %.")
    rows_per_second = _whole_number(
        *("Row limit", 1, 10_000_000),
        "Most rows per second: {}–{}. Empty: no limit.",
        required=False,
    )
    workers = _whole_number("Workers", 1, 32, "Parallel workers: {}–{}.")
    commit_limit_ms = _whole_number(
        *("Commit latency limit", 1, 60_000),
        "Slower commits throttle the job: {}–{} ms. Empty: twice the baseline, and at least "
        f"{commit_latencies.SLOWER_MS:.0f} ms above it.",
        required=False,
    )
    units: ClassVar = {
        "target_ms": "ms",
        "duty_percent": "%",
        "rows_per_second": "rows/s",
        "workers": "",
        "commit_limit_ms": "ms",
    }


ORDERS = (
    *BY_AGE,
    Order("most-rows", "Most rows first", "rows", descending=True, field="scanned"),
    Order("fewest-rows", "Fewest rows first", "rows", field="scanned"),
)


class JobFilter(ListFilter):
    """Which jobs are listed."""

    table = forms.CharField(required=False, max_length=130)
    kind = choice(JOBS.items())
    phase = phase_choice()
    ended = choice([("yes", "Finished"), ("no", "Not finished")])
    lookups: ClassVar = {
        "table": "table__icontains",
        "kind": "kind",
        "phase": "step_run__run__phase",
    }

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        matching, ended = super().of(rows), self.asked.get("ended")
        return matching.filter(finished_at__isnull=ended == "no") if ended else matching


@may("view_rollout")
@require_safe
def jobs(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    filters = JobFilter(request.GET)
    # Of a job that has not ended the journal knows only how many rows it expects.
    rows = Case(When(finished_at=None, then="estimated_rows"), default="scanned")
    matching = filters.of(job_histories.jobs_of(rollout)).annotate(rows=rows)
    page = {
        "rollout": rollout,
        "filters": filters,
        "jobs": page_of(matching, request.GET, size=25, orders=ORDERS),
    }
    return render(request, "rollout/jobs.html", page)


# Maximum points of the application's p95 in a job's chart.
MAX_POINTS = 60


@may("view_rollout")
@require_safe
@cache_fragment
def job(request: ConsoleRequest, job_id: int) -> HttpResponse:
    return _page(request, job_or_404(job_id))


@may("pause_rollout")
@require_POST
def pace(request: ConsoleRequest, job_id: int) -> HttpResponse:
    job = job_or_404(job_id)
    form = PaceForm(request.POST)
    if form.is_valid():
        try:
            runner.set_pace(job, **form.cleaned_data, actor=request.user)
        except runner.Refused as refusal:
            if job.finished_at is not None:
                messages.error(request, str(refusal))
                return redirect(job)
            form.add_error(None, str(refusal))
    if form.errors:
        return _page(request, job, form=form)
    messages.success(request, "Throttle settings updated. They apply from the next batch.")
    return redirect(job)


@may("pause_rollout")
@require_POST
def retry_quarantined(request: ConsoleRequest, job_id: int) -> HttpResponse:
    job = job_or_404(job_id)
    perform(
        request,
        lambda: runner.retry_quarantined(job, actor=request.user),
        "Retrying quarantined rows. Results appear below.",
    )
    return redirect(job)


def _page(request: ConsoleRequest, job: BackfillJob, form: PaceForm | None = None) -> HttpResponse:
    run = job.step_run.run
    report = report_of(job)
    at_work = job.finished_at is None and run.state in WORKING
    last_retry = _newest_entry(job, RETRY_ASKED, RETRY_DONE) if report.poisoned else None
    is_limited = job.finished_at is None and (job.duty_percent < 100 or job.rows_per_second)
    retrying = (
        last_retry is not None
        and last_retry.event == RETRY_ASKED
        and timezone.now() - last_retry.at < MAX_RETRY_TIME
    )
    plan = plans.find(run.rollout.plan)
    rules = {f"{signals.RULE}{rule.id}": rule for rule in plan.all_guardrails} if plan else {}
    page = {
        "here": job.get_absolute_url(),
        "job": job,
        # The header states the same reading of the progress as the page.
        "jobs": [JobView(job, report.progress)],
        "run": run,
        "pause": pause_of(run),
        "rollout": run.rollout,
        "report": report,
        "progress": report.progress,
        "chart": _chart(job, report),
        "health": health_of(report, rules),
        "throttles": [ThrottleRow(past, rules) for past in report.throttles.rows],
        "quarantine": [(row, _url(job, row)) for row in report.poison_rows],
        "last_retry": last_retry,
        "is_limited": is_limited,
        "limited_by": _newest_entry(job, Event.PACE_CHANGED) if is_limited else None,
        "retrying": retrying,
        "may_retry": job.kind != Proof.kind and (not run.active or run.state == RunState.PAUSED),
        "liveness": liveness(),
        "at_work": at_work,
        "live": FAST if at_work or retrying else 0,
    }
    if request.htmx:
        return render_live(request, "job", page)
    shown = form or PaceForm(initial={name: getattr(job, name) for name in PaceForm.base_fields})
    if report.pace is not None:
        automatic = milliseconds(report.pace.latencies.limit(None))
        shown.fields["commit_limit_ms"].help_text += f" At present that is {automatic}."
    page["form"] = shown
    page["fields"] = [(field, PaceForm.units[field.name]) for field in shown]
    page["history"] = job_histories.before_job(job)
    return render(request, "rollout/job.html", {**page, "full": True}, status=422 if form else 200)


def _chart(job: BackfillJob, report: JobReport) -> Chart | None:
    chart = chart_of(
        report.throughputs,
        began=job.created_at,
        ended=job.finished_at,
        now=timezone.now(),
        at_work=job.finished_at is None and job.step_run.run.state in WORKING,
        is_slow=slows_down(report.progress.waiting_for),
    )
    rollout = job.step_run.run.rollout
    if chart is None or rollout.environment != DEFAULT:
        return chart
    return with_application(
        chart, over_time(chart.start, chart.end, points=MAX_POINTS, plan=rollout.plan)
    )


def _newest_entry(job: BackfillJob, *events: Event) -> LogEntry | None:
    """The newest entry of these events about a job."""
    rollout = job.step_run.run.rollout
    return LogEntry.objects.filter(
        plan=rollout.plan,
        environment=rollout.environment,
        event__in=events,
        data__job=job.pk,
        at__gte=job.created_at,
    ).first()


def _url(job: BackfillJob, row: PoisonRow) -> str:
    return row_url(job.table, ",".join(row.key))


# How a signal's number is written; signals that are not named have none to show.
_NUMBERS: dict[str, Callable[[float], str]] = {
    "commit latency": milliseconds,
    "old transaction": duration,
    "lock waits": number,
    "replication lag": duration,
    "WAL": byte_size,
    "transaction ids": number,
    "connections": number,
}


# Of these a signal that is OK says that there is none to speak of.
_NONE_WHILE_OK = {"old transaction", "lock waits"}


@dataclass(frozen=True)
class HealthRow:
    """A signal as it is now, None when it is not read any more, and the seconds lost to it."""

    name: str
    signal: Signal | None
    lost: float
    rules: Mapping[str, Guardrail]

    @property
    def value(self) -> str:
        """Empty where the signal's own words already say that there is none."""
        signal = self.signal
        if signal is None or (signal.status == "ok" and self.name in _NONE_WHILE_OK):
            return ""
        return number_of(self.name, signal.value, signal.bound, self.rules)

    @property
    def bound(self) -> str:
        signal = self.signal
        return number_of(self.name, signal.bound, signal.bound, self.rules) if signal else ""


@dataclass(frozen=True)
class ThrottleRow:
    """A time in which a signal slowed the job, as its page writes it."""

    past: PastThrottle
    rules: Mapping[str, Guardrail]

    @property
    def value(self) -> str:
        return number_of(self.past.signal, self.past.value, self.past.bound, self.rules)

    @property
    def bound(self) -> str:
        return number_of(self.past.signal, self.past.bound, self.past.bound, self.rules)

    @property
    def seconds(self) -> float:
        return (self.past.ended - self.past.began).total_seconds()


def number_of(
    name: str, value: float | None, bound: float | None, rules: Mapping[str, Guardrail]
) -> str:
    """A signal's value or bound with its unit; empty where it has none to show.

    ``rules`` are the plan's guardrails by the name of their signals.
    """
    if value is None:
        return ""
    if name == signals.NAME:
        return signals.with_unit_of_application(value, bound)
    if name in rules:
        return signals.with_unit(rules[name], value)
    return _NUMBERS[name](value) if name in _NUMBERS else ""


def health_of(report: JobReport, rules: Mapping[str, Guardrail]) -> list[HealthRow]:
    """The signals of a running job, then those that cost time earlier."""
    lost = {loss.signal: loss.seconds for loss in report.losses if loss.seconds >= MIN_LOSS_SECONDS}
    rows = [HealthRow(s.name, s, lost.pop(s.name, 0.0), rules) for s in report.signals]
    return rows + [HealthRow(name, None, seconds, rules) for name, seconds in lost.items()]
