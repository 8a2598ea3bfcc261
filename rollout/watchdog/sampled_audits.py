"""Sampled audits that the plan asks for from time to time while both schemas exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from rollout import gates, queue
from rollout.environments import environments_of
from rollout.models import AuditMode, AuditReport, AuditStatus, PhaseRun, Rollout
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.plan.registry import UnknownPlan
from rollout.plan.step import BACKFILL, CONTRACT
from rollout.runner import audits
from rollout.watchdog.isolation import isolated

ACTOR = "schedule"


@dataclass(frozen=True)
class NextSample:
    """When the next sample of a rollout is due: at once, where none was made yet.

    ``after`` is the audit that is under way: the sample waits for its end.
    """

    due_at: datetime
    every: timedelta
    after: AuditReport | None = None

    @property
    def is_due(self) -> bool:
        return self.due_at <= timezone.now()


def next_sample(rollout: Rollout, plan: Plan, runs: Mapping[int, PhaseRun]) -> NextSample | None:
    """None where no sample is to come: the plan asks for none, or one schema alone is there."""
    backfill = runs.get(BACKFILL)
    if plan.sample_every is None or backfill is None or not gates.is_done(backfill):
        return None
    if not gates.is_untouched(runs.get(CONTRACT)):
        return None
    audits_there = AuditReport.objects.filter(rollout=rollout)
    last = audits_there.filter(mode=AuditMode.SAMPLED).values_list("started_at", flat=True).first()
    due_at = last + plan.sample_every if last else backfill.finished_at or backfill.created_at
    running = audits_there.filter(status=AuditStatus.RUNNING).first()
    return NextSample(due_at, plan.sample_every, running)


def send_due() -> int:
    """Ask for the samples that are due; how many there were.

    The databases of rehearsals have none: there the phases audit, and nothing may disturb them.
    """
    sent = 0
    for rollout in Rollout.objects.all():
        with isolated(f"The sampled audit of {rollout}"):
            sent += _send_if_due(rollout)
    return sent


def _send_if_due(rollout: Rollout) -> bool:
    try:
        plan = plans.get(rollout.plan)
    except UnknownPlan:
        return False
    if plan.sample_every is None or rollout.environment not in environments_of(plan.name):
        return False
    sample = next_sample(rollout, plan, gates.newest_runs(rollout))
    if sample is None or not sample.is_due or sample.after is not None:
        return False
    report = audits.asked_for(
        rollout,
        actor_name=ACTOR,
        source="watchdog",
        sample=plan.sample_rows,
        scheduled=True,
    )
    queue.send_audit(report)
    return True
