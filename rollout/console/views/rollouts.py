"""The overview of rollouts, and the page of one."""

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from rollout.console import current_phases
from rollout.console.alerts import alerts_for
from rollout.console.approvals import overrides_of
from rollout.console.charts.marks import KEPT_AGAIN, THROTTLED
from rollout.console.completions import completion_of
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.fragments import cache_fragment, pace, render_live, vary_on_user
from rollout.console.http.shortcuts import status_or_404
from rollout.console.views.audits import shown_sample
from rollout.console.views.guardrails import rules_of
from rollout.console.views.phases import requested
from rollout.journal.environments import is_protected
from rollout.journal.events import Event
from rollout.journal.heartbeats import liveness
from rollout.models import AuditStatus, LogEntry, Rollout, ScheduleState
from rollout.queries.pauses import pause_of
from rollout.queries.status import all_rollouts, steps_of, summaries_of
from rollout.watchdog.sampled_audits import next_sample

MAX_RECENT = 5
MAX_RECENT_SNAPSHOTS = 3
# Left out of the recent activity: the page of a phase and the health show them.
EVENTS_LEFT_OUT = (Event.STEP_DONE, Event.STEP_ROLLED_BACK, THROTTLED, KEPT_AGAIN)
# The order of the index: by the id alone, a rollout without entries would read all others'.
_INDEX_ORDER = ("plan", "environment", "-id")


@may("view_rollout", anywhere=True)
@require_safe
@cache_fragment
def overview(request: ConsoleRequest) -> HttpResponse:
    vary_on_user(request)
    seen = environments_seen_by(request.user, "view_rollout")
    summaries = summaries_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    last = _last_entries([summary.rollout for summary in summaries])
    page = {
        "rows": [
            {
                "status": summary,
                "phase": current_phases.current_phase(summary),
                "last": last.get(summary.rollout.pk),
            }
            for summary in summaries
        ],
        "liveness": liveness(),
        "live": pace(any(current_phases.is_at_work(summary) for summary in summaries)),
    }
    return render_live(request, "overview", page)


@may("view_rollout")
@require_safe
@cache_fragment
def rollout(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = current_phases.current_phase(status)
    steps = steps_of(status, phase.number)
    overrides = overrides_of(status.evidence)
    if any(override.waits for override in overrides):
        # Whoever asked for one is not to confirm it.
        vary_on_user(request)
    audits = status.evidence.facts.audits[:MAX_RECENT]
    rules = rules_of(status.rollout, status.evidence.facts.rules)
    snapshots = status.evidence.facts.snapshots[:MAX_RECENT_SNAPSHOTS]
    page = {
        "rollout": status.rollout,
        "status": status,
        "is_protected": is_protected(status.rollout.environment),
        "phase": phase,
        "card": current_phases.card_template(phase),
        "pause": pause_of(phase.run),
        "repair": current_phases.repair_of(status),
        "steps": steps,
        "current": current_phases.current_step(steps),
        "jobs": current_phases.jobs_of(steps),
        "report": current_phases.report_of(status, phase),
        "checklist": current_phases.checklist_of(status),
        "stale_types": current_phases.stale_types_of(status),
        "overrides": overrides,
        **requested(request, status, phase),
        "way_back": current_phases.way_back_of(status, phase),
        "completion": completion_of(status),
        "schedule": status.rollout.scheduled,
        "audits": audits,
        **shown_sample(next_sample(status.rollout, status.evidence.runs), status.liveness),
        "alerts": alerts_for(status, rules, audits),
        "rules": rules,
        "snapshots": snapshots,
        "rehearsal": next(iter(status.evidence.facts.rehearsals), None),
        "entries": entries_of(status.rollout).exclude(event__in=EVENTS_LEFT_OUT)[:MAX_RECENT],
        "live": pace(
            current_phases.is_at_work(status)
            or _waits(status.rollout)
            or any(a.status == AuditStatus.RUNNING for a in audits)
            or any(snapshot.under_way for snapshot in snapshots)
            or any(rehearsal.under_way for rehearsal in status.evidence.facts.rehearsals)
            or any(gate.progress is not None for gate in phase.gates)
        ),
    }
    return render_live(request, "rollout", page)


def _waits(rollout: Rollout) -> bool:
    scheduled = rollout.scheduled
    return scheduled is not None and scheduled.state == ScheduleState.WAITING


def _last_entries(rollouts: list[Rollout]) -> dict[int, LogEntry]:
    """What was done last with each."""
    entries = LogEntry.objects.filter(
        plan=OuterRef("plan"), environment=OuterRef("environment")
    ).order_by(*_INDEX_ORDER)
    newest = Rollout.objects.filter(pk__in=[rollout.pk for rollout in rollouts])
    keys = dict(newest.values_list("pk", Subquery(entries.values("pk")[:1])))
    by_key = LogEntry.objects.in_bulk([key for key in keys.values() if key is not None])
    return {rollout: by_key[key] for rollout, key in keys.items() if key is not None}


def entries_of(rollout: Rollout) -> QuerySet[LogEntry]:
    """What was done with a rollout, newest first."""
    entries = LogEntry.objects.filter(plan=rollout.plan, environment=rollout.environment)
    return entries.order_by(*_INDEX_ORDER)
