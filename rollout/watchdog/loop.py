"""The watchdog's loop: one of several leads, and walks the list of duties."""

import logging
import time
from collections.abc import Callable, Sequence

from django.db import Error

from rollout import journal
from rollout.journal import heartbeats, watched_times
from rollout.watchdog.duties import Duty, duties
from rollout.watchdog.isolation import isolated

_log = logging.getLogger(__name__)

_LEADER_LOCK = 0x526F6C6C57617463  # "RollWatc": one watchdog acts, the others stand by.


class Watchdog:
    """Looks every second. Any number may run; the holder of an advisory lock acts."""

    def __init__(
        self,
        these: Sequence[Duty] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._duties = duties() if these is None else these
        self._clock = clock
        self._due: dict[str, float] = {}

    def run(self, *, stop: Callable[[float], bool]) -> None:
        """Look until ``stop(seconds)``, which waits that long, answers that the end has come.

        A database that is away is waited for: afterwards there is most to bring back.
        """
        while True:
            try:
                self.look()
            except Error as error:
                _log.warning("Database unavailable: %s", str(error).strip())
                journal.connection().close()
            if stop(1.0):
                return

    def look(self) -> None:
        """One look: a sign of life, then every duty that is due. One that fails stops no other."""
        heartbeats.beat(heartbeats.WATCHDOG)
        if not self._leads():
            self._unseat_silent_leader()
            return
        worker_alive = heartbeats.liveness().worker_alive
        for duty in self._duties:
            now = self._clock()
            if now < self._due.get(duty.name, now) or (duty.needs_worker and not worker_alive):
                continue
            if duty.deletes and watched_times.unsettled_jump() is not None:
                continue
            self._due[duty.name] = now + duty.every.total_seconds()
            with isolated(f"The duty “{duty.name}”"):
                duty.carry_out()

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
                # One that is to come is of before the server's clock was set back.
                " AND a.state_change NOT BETWEEN clock_timestamp() - make_interval(secs => %s)"
                " AND clock_timestamp() + make_interval(secs => %s)",
                [
                    *(_LEADER_LOCK >> 32, _LEADER_LOCK & 0xFFFFFFFF),
                    *(heartbeats.SILENCE.seconds, heartbeats.SILENCE.seconds),
                ],
            )
            if cursor.rowcount:
                _log.warning("Watchdog leadership changed: the previous leader was unresponsive.")
