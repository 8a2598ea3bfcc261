"""The overview of rollouts, and the page of one."""

from django import forms
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_safe

from rollout.console import current_phases
from rollout.console.alerts import alerts_for
from rollout.console.approvals import overrides_of
from rollout.console.charts.marks import KEPT_AGAIN, THROTTLED
from rollout.console.completions import completion_of
from rollout.console.guardrails import rules_of
from rollout.console.guides import guide_of
from rollout.console.histories import timeline_of
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.cookies import hides_guide
from rollout.console.http.fragments import (
    cache_fragment,
    kept_until_next_entry,
    reload_seconds,
    render_live,
    vary_on_user,
)
from rollout.console.http.shortcuts import status_or_404
from rollout.console.lists.filters import ListFilter, choice
from rollout.console.overviews import INDEX_ORDER, rows_of
from rollout.console.rollback_chains import progress_of
from rollout.console.rollout_states import kind_of
from rollout.console.views.audits import shown_sample
from rollout.console.views.phases import requested
from rollout.console.vitals import vitals_of
from rollout.journal.environments import is_protected
from rollout.journal.events import Event
from rollout.journal.heartbeats import liveness
from rollout.models import AuditStatus, LogEntry, Rollout
from rollout.queries.data_safety import data_safety_of
from rollout.queries.pauses import pause_of
from rollout.queries.status import RolloutSummary, all_rollouts, steps_of, summaries_of
from rollout.watchdog.sampled_audits import next_sample

MAX_RECENT = 5
MAX_RECENT_SNAPSHOTS = 3
# Left out of the recent activity: the page of a phase and the health show them.
EVENTS_LEFT_OUT = (Event.STEP_DONE, Event.STEP_ROLLED_BACK, THROTTLED, KEPT_AGAIN)
# Maximum of rollouts that are found at a glance.
MAX_WITHOUT_FILTERS = 10


class RolloutFilter(ListFilter):
    """Which rollouts to show; a title matches by a part, in any case."""

    title = forms.CharField(required=False, max_length=100)
    environment = choice([])
    state = choice(
        [("running", "Running"), ("stopped", "Stopped"), ("idle", "Idle"), ("complete", "Complete")]
    )

    def __init__(self, query: QueryDict, summaries: list[RolloutSummary]) -> None:
        super().__init__(query)
        self.offer("environment", {summary.rollout.environment for summary in summaries})

    def matching(self, summaries: list[RolloutSummary]) -> list[RolloutSummary]:
        title, environment = self.asked.get("title", ""), self.asked.get("environment")
        state = self.asked.get("state")
        return [
            summary
            for summary in summaries
            if title.lower() in summary.plan.title.lower()
            and environment in (None, summary.rollout.environment)
            and state in (None, kind_of(summary))
        ]


@may("view_rollout", anywhere=True)
@require_safe
@cache_fragment
def overview(request: ConsoleRequest) -> HttpResponse:
    vary_on_user(request)
    seen = environments_seen_by(request.user, "view_rollout")
    summaries = summaries_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    filters = RolloutFilter(request.GET, summaries)
    page = {
        "rows": rows_of(filters.matching(summaries)),
        "listed": {"rows": summaries},
        "filters": filters if len(summaries) > MAX_WITHOUT_FILTERS or filters.asked else None,
        "liveness": liveness(),
        "live": reload_seconds(any(current_phases.is_at_work(summary) for summary in summaries)),
    }
    return render_live(request, "overview", page)


@may("view_rollout")
@require_safe
@cache_fragment
def rollout(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    status = status_or_404(plan, environment, starter=request.user)
    phase = current_phases.current_phase(status)
    steps = steps_of(status, phase.number)
    overrides = overrides_of(status.evidence)
    if any(override.waits for override in overrides):
        # The requester cannot confirm.
        vary_on_user(request)
    audits = status.evidence.facts.audits[:MAX_RECENT]
    rules = rules_of(status.rollout, status.evidence.facts.rules)
    snapshots = status.evidence.facts.snapshots[:MAX_RECENT_SNAPSHOTS]
    safety = data_safety_of(status)
    vitals = vitals_of(status, rules)
    repair, current = current_phases.repair_of(status), current_phases.current_step(steps)
    step = repair.step if repair is not None else current.run if current is not None else None
    page = {
        "rollout": status.rollout,
        "status": status,
        "guide": guide_of(status),
        "hides_guide": hides_guide(request),
        "vitals": vitals,
        "safety": safety,
        "is_protected": is_protected(status.rollout.environment),
        "phase": phase,
        "card": current_phases.card_template(phase),
        "pause": pause_of(phase.run, status.evidence.facts),
        "retry": current_phases.retry_of(phase),
        "repair": repair,
        "chain": progress_of(status),
        "steps": steps,
        "current": current,
        "jobs": current_phases.jobs_of(steps),
        "report": current_phases.report_of(status, phase),
        "checklist": current_phases.checklist_of(status),
        "stale_types": current_phases.due_types_of(status),
        "overrides": overrides,
        **requested(request, status, phase),
        "completion": completion_of(status),
        "schedule": status.rollout.scheduled,
        "audits": audits,
        **shown_sample(next_sample(status.rollout, status.evidence.runs), status.liveness),
        "timeline": kept_until_next_entry(
            request,
            *("timeline", status.rollout.pk, [run.state for run in status.evidence.runs.values()]),
            make=lambda: timeline_of(status.rollout),
        ),
        "alerts": alerts_for(status, rules, vitals, step),
        "rules": rules,
        # Wrong values ask for a repair, which Health offers beside them.
        "breached": any(r.needs_people and r.rule.statistic != "wrong_values" for r in rules),
        "snapshots": snapshots,
        "rehearsal": next(iter(status.evidence.facts.rehearsals), None),
        "entries": entries_of(status.rollout).exclude(event__in=EVENTS_LEFT_OUT)[:MAX_RECENT],
        "live": reload_seconds(
            current_phases.is_at_work(status)
            or status.rollout.start_to_come is not None
            or any(a.status == AuditStatus.RUNNING for a in audits)
            or any(snapshot.under_way for snapshot in snapshots)
            or any(rehearsal.under_way for rehearsal in status.evidence.facts.rehearsals)
            or any(gate.progress is not None and gate.ready_at for gate in phase.gates)
        ),
    }
    return render_live(request, "rollout", page)


def entries_of(rollout: Rollout) -> QuerySet[LogEntry]:
    """What was done with a rollout, newest first."""
    entries = LogEntry.objects.filter(plan=rollout.plan, environment=rollout.environment)
    return entries.order_by(*INDEX_ORDER)
