"""Runs whose worker died, and the queue that lost them."""

from datetime import timedelta

from django.utils import timezone

from rollout import runner
from rollout.journal import heartbeats
from rollout.journal.heartbeats import WORKER
from rollout.models import (
    AuditReport,
    PhaseRun,
    Rollout,
    RunState,
)
from tests.support import rollouts
from tests.support.rollouts import ADA

LONG_AGO = timedelta(seconds=11)


def a_worker_lives() -> None:
    heartbeats.beat(WORKER)


def time_passes(run: PhaseRun | AuditReport, by: timedelta = LONG_AGO) -> None:
    """As though nothing had been heard of its worker for that long."""
    type(run)._default_manager.filter(pk=run.pk).update(lease_until=timezone.now() - by)


def lost_run(rollout: Rollout, state: RunState = RunState.RUNNING) -> PhaseRun:
    """A run whose worker took it and died."""
    run = runner.start(rollout, 0, actor=ADA)
    rollouts.lose_the_queue()
    PhaseRun.objects.filter(pk=run.pk).update(state=state, token=1, worker="host:1")
    time_passes(run)
    return run


def runs_queued() -> list[tuple[object, ...]]:
    return [m.arguments for m in rollouts.queued() if m.task == "rollout.tasks.advance"]
