"""The overview of rollouts, and the page of one."""

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console import current_phases
from rollout.console.alerts import concerns_of
from rollout.console.approvals import overrides_of, requests_of
from rollout.console.charts.marks import KEPT_AGAIN, THROTTLED
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.fragments import pace, shared, tell_apart
from rollout.console.http.shortcuts import status_or_404
from rollout.console.views.audits import shown_sample
from rollout.console.views.guardrails import rules_of
from rollout.journal.environments import is_protected
from rollout.journal.events import Event
from rollout.journal.heartbeats import liveness
from rollout.models import AuditStatus, LogEntry, Rollout, ScheduleState
from rollout.queries.pauses import pause_of
from rollout.queries.status import all_rollouts, briefs_of, steps_of
from rollout.watchdog.sampled_audits import next_sample

RECENT = 5
RECENT_SNAPSHOTS = 3
NOBODY_DID = (Event.STEP_DONE, Event.STEP_ROLLED_BACK, THROTTLED, KEPT_AGAIN)
"""Left out of the short list of what was done last: a phase's page and the health tell them."""
_IN_INDEX = ("plan", "environment", "-id")
"""As the index has it: by the number alone a rollout without entries costs a look at all others."""


@may("view_rollout", anywhere=True)
@require_safe
@shared
def overview(request: ConsoleRequest) -> HttpResponse:
    tell_apart(request)
    seen = environments_seen_by(request.user, "view_rollout")
    briefs = briefs_of([rollout for rollout in all_rollouts() if rollout.environment in seen])
    last = _last_entries([brief.rollout for brief in briefs])
    page = {
        "rows": [
            {
                "status": brief,
                "phase": current_phases.phase_in_focus(brief),
                "last": last.get(brief.rollout.pk),
            }
            for brief in briefs
        ],
        "liveness": liveness(),
        "live": pace(any(current_phases.is_at_work(brief) for brief in briefs)),
    }
    template = "overview_live" if request.htmx else "overview"
    return render(request, f"rollout/{template}.html", page)


@may("view_rollout")
@require_safe
@shared
def rollout(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = current_phases.phase_in_focus(status)
    steps = steps_of(status, phase.number)
    overrides = overrides_of(status.evidence)
    if any(override.waits for override in overrides):
        # Whoever asked for one is not to confirm it.
        tell_apart(request)
    audits = status.evidence.facts.audits[:RECENT]
    rules = rules_of(status.rollout, status.evidence.facts.rules)
    snapshots = status.evidence.facts.snapshots[:RECENT_SNAPSHOTS]
    page = {
        "rollout": status.rollout,
        "status": status,
        "is_protected": is_protected(status.rollout.environment),
        "phase": phase,
        "card": current_phases.card_of(phase),
        "pause": pause_of(phase.run),
        "repair": current_phases.repair_of(status),
        "steps": steps,
        "current": current_phases.current_step(steps),
        "jobs": current_phases.jobs_of(steps),
        "report": current_phases.report_of(status, phase),
        "checklist": current_phases.checklist_of(status),
        "stale_types": current_phases.stale_types_of(status),
        "overrides": overrides,
        "requests": requests_of(status.evidence) if phase.needs_approval else [],
        "schedule": status.rollout.scheduled,
        "audits": audits,
        **shown_sample(next_sample(status.rollout, status.evidence.runs), status.liveness),
        "concerns": concerns_of(status, rules, audits),
        "rules": rules,
        "snapshots": snapshots,
        "rehearsal": next(iter(status.evidence.facts.rehearsals), None),
        "entries": entries_of(status.rollout).exclude(event__in=NOBODY_DID)[:RECENT],
        "live": pace(
            current_phases.is_at_work(status)
            or _waits(status.rollout)
            or any(a.status == AuditStatus.RUNNING for a in audits)
            or any(snapshot.under_way for snapshot in snapshots)
        ),
    }
    template = "rollout_live" if request.htmx else "rollout"
    return render(request, f"rollout/{template}.html", page)


def _waits(rollout: Rollout) -> bool:
    scheduled = rollout.scheduled
    return scheduled is not None and scheduled.state == ScheduleState.WAITING


def _last_entries(rollouts: list[Rollout]) -> dict[int, LogEntry]:
    """What was done last with each."""
    entries = LogEntry.objects.filter(
        plan=OuterRef("plan"), environment=OuterRef("environment")
    ).order_by(*_IN_INDEX)
    newest = Rollout.objects.filter(pk__in=[rollout.pk for rollout in rollouts])
    keys = dict(newest.values_list("pk", Subquery(entries.values("pk")[:1])))
    by_key = LogEntry.objects.in_bulk([key for key in keys.values() if key is not None])
    return {rollout: by_key[key] for rollout, key in keys.items() if key is not None}


def entries_of(rollout: Rollout) -> QuerySet[LogEntry]:
    """What was done with a rollout, newest first."""
    entries = LogEntry.objects.filter(plan=rollout.plan, environment=rollout.environment)
    return entries.order_by(*_IN_INDEX)
