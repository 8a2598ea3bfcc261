"""Clocks of machines and databases, which are set."""

from datetime import datetime, timedelta

from rollout import gates, runner
from rollout.gates.evidence import Evidence
from rollout.journal.moments import by_the_database
from rollout.models import PhaseRun, Rollout, RunState, Snapshot, SnapshotState
from rollout.plan import Gate
from rollout.watchdog.clock_watch import ClockWatch
from rollout.worker import leases
from tests.support import rollouts
from tests.support.rollouts import ADA

HOUR = timedelta(hours=1)


def begun(rollout: Rollout) -> PhaseRun:
    """A run that a worker holds."""
    run = runner.start(rollout, 0, actor=ADA)
    assert leases.claim(run, run.token)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING)
    rollouts.lose_the_queue()
    return run


def answer(gate: Gate, rollout: Rollout) -> str:
    status = gates.check_gate(gate, Evidence(rollout, 1))
    assert status.status == "pending", status.message
    return status.message


class Clocks:
    """A database's clock that jumps, beside one that nobody sets. They begin a day ago."""

    def __init__(self) -> None:
        self.began = self.shown = by_the_database() - 24 * HOUR
        self._passed = 0.0

    def watch(self) -> ClockWatch:
        """A watchdog's, that has just started."""
        return ClockWatch(clock=lambda: self._passed, database_clock=lambda: self.shown)

    def go_on(self, time: timedelta) -> None:
        self.shown += time
        self._passed += time.total_seconds()


def verified_snapshot(rollout: Rollout, taken_at: datetime) -> Snapshot:
    return Snapshot.objects.create(
        rollout=rollout,
        state=SnapshotState.VERIFIED,
        taken_at=taken_at,
        expires_at=taken_at + timedelta(days=30),
    )
