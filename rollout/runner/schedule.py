"""Sampled audits that the plan asks for from time to time while both shapes exist."""

from django.utils import timezone

from rollout import gates, queue
from rollout.environments import names_there
from rollout.models import AuditMode, AuditReport, AuditStatus, Rollout
from rollout.plan import plans
from rollout.plan.registry import UnknownPlan
from rollout.plan.step import BACKFILL, CONTRACT
from rollout.runner import audits

ACTOR = "schedule"


def send_due() -> int:
    """Ask for the samples that are due; how many there were."""
    return sum(
        _send(rollout)
        for rollout in Rollout.objects.filter(environment__in=names_there())
        if _is_due(rollout)
    )


def _is_due(rollout: Rollout) -> bool:
    try:
        plan = plans.get(rollout.plan)
    except UnknownPlan:
        return False
    if plan.sample_every is None:
        return False
    runs = gates.newest_runs(rollout)
    both_shapes = gates.is_done(runs.get(BACKFILL)) and gates.is_untouched(runs.get(CONTRACT))
    if (
        not both_shapes
        or AuditReport.objects.filter(rollout=rollout, status=AuditStatus.RUNNING).exists()
    ):
        return False
    last = AuditReport.objects.filter(rollout=rollout, mode=AuditMode.SAMPLED).first()
    return last is None or last.started_at <= timezone.now() - plan.sample_every


def _send(rollout: Rollout) -> int:
    report = audits.asked_for(
        rollout,
        actor_name=ACTOR,
        source="watchdog",
        sample=plans.get(rollout.plan).sample_rows,
        scheduled=True,
    )
    queue.send_audit(report)
    return 1
