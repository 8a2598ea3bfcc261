"""What workers are asked to do."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

from django.utils import timezone

from rollout.journal import heartbeats
from rollout.models import Rollout
from rollout.notifications import delivering
from rollout.watchdog import view_refresh
from rollout.worker import (
    audits,
    backfill_helpers,
    estimates,
    probes,
    rehearsals,
    restores,
    runs,
    snapshots,
)

_log = logging.getLogger(__name__)


def while_fresh(task: Callable[..., None]) -> Callable[..., None]:
    """Do nothing when a message is late: its last argument says until when it holds.

    Workers that died, or that were busy for long, leave messages behind.
    """

    @wraps(task)
    def carried_out(*arguments: Any) -> None:
        *named, until = arguments
        if timezone.now() > datetime.fromisoformat(until):
            _log.warning("%s%s was asked for too long ago: it is void.", task.__name__, (*named,))
            return
        task(*named)

    return carried_out


def advance(run_id: int, token: int) -> None:
    """Go on with a phase run for a slice of time."""
    runs.advance(run_id, token)


def audit(report_id: int, token: int) -> None:
    """Make an audit report that somebody asked for."""
    audits.carry_out(report_id, token)


def assist(job_id: int, until: float) -> None:
    """Work on a backfill job beside the worker that holds its run."""
    backfill_helpers.assist(job_id, until)


@while_fresh
def retry_quarantined(job_id: int, actor_name: str) -> None:
    """Try the rows that the database refused once more."""
    backfill_helpers.retry_quarantined(job_id, actor_name)


@while_fresh
def estimate(estimate_id: int) -> None:
    """Try a pass over a table out on a sample that is rolled back."""
    estimates.carry_out(estimate_id)


def snapshot(snapshot_id: int, token: int) -> None:
    """Take and verify a snapshot."""
    snapshots.carry_out(snapshot_id, token)


def restore(restore_id: int, token: int) -> None:
    """Put a snapshot back into an environment, or into a new one."""
    restores.carry_out(restore_id, token)


@while_fresh
def probe(rollout_id: int) -> None:
    """Try the flows of a plan out."""
    probes.probe_all(Rollout.objects.get(pk=rollout_id))


def rehearse(rehearsal_id: int, token: int) -> None:
    """Go on with a rehearsal."""
    rehearsals.carry_out(rehearsal_id, token)


@while_fresh
def refresh_view(rollout_id: int, step_id: str) -> None:
    """Bring a materialized view up to date."""
    view_refresh.refresh(rollout_id, step_id)


def deliver(asked_at: str) -> None:
    """Tell receivers what they are to be told."""
    delivering.deliver_due(datetime.fromisoformat(asked_at))


def beat() -> None:
    """Show that tasks go through the queue and are carried out."""
    heartbeats.beat(heartbeats.WORKER)
