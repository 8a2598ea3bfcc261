"""Brings back the work of workers that died, and sees whether any worker lives."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import Error
from django.utils import timezone

from rollout import heartbeats, journal, log, queue
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    RESTORE_WORKING,
    SNAPSHOT_UNDER_WAY,
    WORKING,
    AuditReport,
    AuditStatus,
    PhaseRun,
    Rehearsal,
    Restore,
    RunState,
    Snapshot,
)
from rollout.notifications import delivering
from rollout.runner import scheduled
from rollout.runner.lease import SECONDS, take_back
from rollout.runner.rules import Judge
from rollout.runner.sampling import DatabaseSampler
from rollout.runner.snapshots import remove_expired
from rollout.runner.verbs import sentence_name_of
from rollout.runner.views import Refresher
from rollout.telemetry.thinning import thin

_log = logging.getLogger(__name__)

_LEADER_LOCK = 0x526F6C6C57617463  # "RollWatc": one watchdog acts, the others stand by.
BEAT_EVERY = timedelta(seconds=3)
_BEAT_LOST = timedelta(seconds=30)
THIN_EVERY = 10.0
"""Seconds. Little at a time costs little, and pages stay quick."""


class Watchdog:
    """Looks every second. Any number may run; the holder of an advisory lock acts."""

    def __init__(self) -> None:
        self._beat_sent_at = timezone.now() - _BEAT_LOST
        self._forgotten = 0.0
        self._refresher = Refresher()
        self._judge = Judge()
        self._sampler = DatabaseSampler()

    def run(self, *, stop: Callable[[float], bool]) -> None:
        """Look until ``stop(seconds)``, which waits that long, answers that the end has come.

        A database that is away is waited for: afterwards there is most to bring back.
        """
        while True:
            try:
                self.look()
            except Error as error:
                _log.warning("The database did not answer: %s", str(error).strip())
                journal.connection().close()
            if stop(1.0):
                return

    def look(self) -> None:
        """One look: a sign of life, a task through the queue, and lost work brought back."""
        heartbeats.beat(heartbeats.WATCHDOG)
        if not self._leads():
            self._unseat_silent_leader()
            return
        self._send_beat()
        self._judge.judge_due()
        delivering.collect()
        scheduled.start_due()
        if heartbeats.liveness().worker_alive:
            # Without a living worker it would only pile messages up.
            self._bring_back()
            self._refresher.send_due()
            delivering.ask_for_delivery()
        self._sampler.sample_due()
        remove_expired()
        if time.monotonic() - self._forgotten > THIN_EVERY:
            self._forgotten = time.monotonic()
            heartbeats.forget_old()
            delivering.forget_old()
            thin()

    def _leads(self) -> bool:
        """The lock is the session's: a leader that dies or loses its connection leads no more."""
        with journal.connection().cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND pid = pg_backend_pid() AND classid = %s AND objid = %s)"
                " OR pg_try_advisory_lock(%s)",
                [_LEADER_LOCK >> 32, _LEADER_LOCK & 0xFFFFFFFF, _LEADER_LOCK],
            )
            row = cursor.fetchone()
        return bool(row and row[0])

    def _unseat_silent_leader(self) -> None:
        """End the session of a leader that stands still, or whose machine is cut off.

        The server would keep it, and the lock with it, for hours. A leader asks every second; one
        that wakes up finds its connection gone before it can do anything.
        """
        with journal.connection().cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(a.pid) FROM pg_locks AS l"
                " JOIN pg_stat_activity AS a ON a.pid = l.pid"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s"
                " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND a.state LIKE 'idle%%'"
                " AND a.state_change < clock_timestamp() - make_interval(secs => %s)",
                [_LEADER_LOCK >> 32, _LEADER_LOCK & 0xFFFFFFFF, heartbeats.SILENCE.seconds],
            )
            if cursor.rowcount:
                _log.warning("The watchdog that led was silent for too long; another leads now.")

    def _send_beat(self) -> None:
        """Send a task through the queue, unless the one before it still waits there."""
        now = timezone.now()
        seen = heartbeats.last_seen(heartbeats.WORKER)
        answered = seen is not None and seen >= self._beat_sent_at
        age = now - self._beat_sent_at
        if (answered and age >= BEAT_EVERY) or age >= _BEAT_LOST:
            self._beat_sent_at = now
            queue.send("beat")

    def _bring_back(self) -> None:
        """Queue again what nobody has been working on for longer than a lease."""
        now = timezone.now()
        runs = PhaseRun.objects.filter(lease_until__lt=now, state__in=WORKING)
        for run in runs.select_related("rollout"):
            dead, state = run.worker, run.state
            if take_back(run):
                queue.send_run(run)
                if state != RunState.QUEUED:
                    log.record(
                        "brought back",
                        f"{sentence_name_of(run)} goes on with another worker: "
                        f"{dead or 'its worker'} has not been heard of for {SECONDS} s.",
                        actor="watchdog",
                        source="watchdog",
                        rollout=run.rollout,
                        phase=run.phase,
                        data={"run": run.pk, "worker": dead},
                    )
        reports = AuditReport.objects.filter(
            lease_until__lt=now, status=AuditStatus.RUNNING, run=None
        )
        for report in reports:
            if take_back(report):
                queue.send_audit(report)
        for snapshot in Snapshot.objects.filter(lease_until__lt=now, state__in=SNAPSHOT_UNDER_WAY):
            if take_back(snapshot):
                queue.send_snapshot(snapshot)
        for restore in Restore.objects.filter(lease_until__lt=now, state__in=RESTORE_WORKING):
            if take_back(restore):
                queue.send_restore(restore)
        for rehearsal in Rehearsal.objects.filter(
            lease_until__lt=now, state__in=REHEARSAL_UNDER_WAY
        ):
            if take_back(rehearsal):
                queue.send_rehearsal(rehearsal)
