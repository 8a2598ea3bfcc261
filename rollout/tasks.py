"""The tasks of queue workers."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

from django.utils import timezone

from rollout.journal import heartbeats
from rollout.models import Rollout
from rollout.notifications import deliveries
from rollout.runner import rollback_chains
from rollout.watchdog import view_refresh
from rollout.worker import backfill_helpers, estimates, probes
from rollout.worker.audits import AuditJob
from rollout.worker.rehearsals import RehearsalJob
from rollout.worker.restores import RestoreJob
from rollout.worker.runs import RunJob
from rollout.worker.snapshots import SnapshotJob

_log = logging.getLogger(__name__)


class RunOfChain(RunJob):
    """A run; at its end the next one of a rollback of several phases starts."""

    def released(self) -> None:
        rollback_chains.continue_after(self.run.pk)


# Leased work: each gets the number of a row and the token that it was sent with.
advance = RunOfChain.carry_out
audit = AuditJob.carry_out
snapshot = SnapshotJob.carry_out
restore = RestoreJob.carry_out
rehearse = RehearsalJob.carry_out


def while_fresh(task: Callable[..., None]) -> Callable[..., None]:
    """Discard a late message: its last argument is the time until which it is valid.

    Workers that died, or that were busy for long, leave messages behind.
    """

    @wraps(task)
    def run_if_fresh(*arguments: Any) -> None:
        *named, until = arguments
        if timezone.now() > datetime.fromisoformat(until):
            _log.warning(
                "%s%s was requested too long ago; the message is discarded.",
                task.__name__,
                (*named,),
            )
            return
        task(*named)

    return run_if_fresh


def assist(job_id: int, until: float) -> None:
    """Help with a backfill job whose run another worker holds."""
    backfill_helpers.assist(job_id, until)


@while_fresh
def retry_quarantined(job_id: int, actor_name: str) -> None:
    """Retry the rows that the database refused."""
    backfill_helpers.retry_quarantined(job_id, actor_name)


@while_fresh
def estimate(estimate_id: int) -> None:
    """Estimate a job from a sample that is rolled back."""
    estimates.carry_out(estimate_id)


@while_fresh
def probe(rollout_id: int) -> None:
    """Run the smoke tests of a plan."""
    probes.probe_all(Rollout.objects.get(pk=rollout_id))


@while_fresh
def refresh_view(rollout_id: int, step_id: str) -> None:
    """Bring a materialized view up to date."""
    view_refresh.refresh(rollout_id, step_id)


def deliver(asked_at: str) -> None:
    """Send the notifications that are due."""
    deliveries.deliver_due(datetime.fromisoformat(asked_at))


def beat() -> None:
    """Record that the queue delivers tasks and a worker runs them."""
    heartbeats.beat(heartbeats.WORKER)
