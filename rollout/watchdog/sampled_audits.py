"""Sampled audits that a plan schedules while both schemas exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q
from django.utils import timezone

from rollout import gates, queue
from rollout.journal.environments import is_known
from rollout.journal.heartbeats import Liveness
from rollout.models import AuditMode, AuditReport, AuditStatus, PhaseRun, Rollout
from rollout.plan import plans
from rollout.plan.plan import BACKFILL, CONTRACT
from rollout.plan.registry import UnknownPlan
from rollout.watchdog.isolation import isolated
from rollout.worker import audits

ACTOR = "schedule"
# The watchdog asks within seconds, at rest within half a minute: what is due for longer is overdue,
# and its reason is shown.
GRACE = timedelta(minutes=2)


@dataclass(frozen=True)
class NextSample:
    """When the next sample of a rollout is due: at once if none was made yet.

    ``under_way`` is the number of the audit whose end it waits for.
    """

    due_at: datetime
    every: timedelta
    under_way: int | None = None

    @property
    def is_due(self) -> bool:
        return self.due_at <= timezone.now()

    @property
    def is_overdue(self) -> bool:
        return self.due_at + GRACE <= timezone.now()

    def overdue_because(self, liveness: Liveness) -> str:
        """Why an overdue sample was not asked for, and what to do about it."""
        if liveness.message:
            return liveness.message
        if self.under_way is not None:
            return f"Audit {self.under_way} is running; the sample starts after it."
        return "The watchdog could not start it. See the watchdog's log for the reason."


def next_sample(rollout: Rollout, runs: Mapping[int, PhaseRun] | None = None) -> NextSample | None:
    """The next sample; None if none is to come.

    Samples are made while both schemas exist, if the plan asks for any; not in the databases of
    rehearsals, where the phases audit and nothing may disturb them.
    """
    try:
        plan = plans.get(rollout.plan)
    except UnknownPlan:
        return None
    if plan.sample_every is None or not is_known(plan.name, rollout.environment):
        return None
    runs = gates.newest_runs(rollout) if runs is None else runs
    backfill = runs.get(BACKFILL)
    if (
        backfill is None
        or not gates.is_done(backfill)
        or not gates.is_not_started(runs.get(CONTRACT))
    ):
        return None
    before = AuditReport.objects.filter(rollout=rollout).aggregate(
        last=Max("started_at", filter=Q(mode=AuditMode.SAMPLED)),
        under_way=Max("pk", filter=Q(status=AuditStatus.RUNNING)),
    )
    first_at = backfill.finished_at or backfill.created_at
    due_at = before["last"] + plan.sample_every if before["last"] else first_at
    return NextSample(due_at, plan.sample_every, before["under_way"])


def send_due() -> int:
    """Ask for the samples that are due; how many there were."""
    sent = 0
    for rollout in Rollout.objects.all():
        with isolated(f"The sampled audit of {rollout}"):
            sent += _send_if_due(rollout)
    return sent


def _send_if_due(rollout: Rollout) -> bool:
    sample = next_sample(rollout)
    if sample is None or not sample.is_due or sample.under_way is not None:
        return False
    report = audits.asked_for(
        rollout,
        actor_name=ACTOR,
        source="watchdog",
        sample=plans.get(rollout.plan).sample_rows,
        scheduled=True,
    )
    queue.send_work(report)
    return True
