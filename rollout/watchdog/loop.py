"""The watchdog's loop: one of several leads, and walks the list of duties."""

import logging
import time
from collections.abc import Callable, Sequence

from django.db import Error

from rollout import journal
from rollout.journal import heartbeats, watched_times
from rollout.watchdog.duties import Duty, duties
from rollout.watchdog.isolation import isolated
from rollout.watchdog.rests import LOOK_SECONDS, LOOK_SECONDS_AT_REST, is_at_rest, is_measured

_log = logging.getLogger(__name__)

_LEADER_LOCK = 0x526F6C6C57617463  # "RollWatc": one watchdog acts, the others stand by.


class Watchdog:
    """Looks every second, at rest less often. Any number may run; one that has a lock acts."""

    def __init__(
        self,
        these: Sequence[Duty] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._duties = duties() if these is None else these
        self._clock = clock
        self._carried_out: dict[str, float] = {}

    def run(self, *, stop: Callable[[float], bool]) -> None:
        """Look until ``stop(seconds)``, which waits that long, answers that the end has come.

        A database that is away is waited for: afterwards there is most to bring back.
        """
        while True:
            seconds = LOOK_SECONDS
            try:
                seconds = self.look()
            except Error as error:
                _log.warning("Database unavailable: %s", str(error).strip())
                journal.connection().close()
            if stop(seconds):
                return

    def look(self) -> float:
        """One look: a sign of life, then every duty that is due; the seconds until the next look.

        A duty that fails stops no other.
        """
        heartbeats.beat(heartbeats.WATCHDOG)
        if not self._leads():
            self._unseat_silent_leader()
            return LOOK_SECONDS
        at_rest = is_at_rest()
        is_idle = at_rest and not is_measured()
        worker_alive = heartbeats.liveness().worker_alive
        for duty in self._duties:
            now, last = self._clock(), self._carried_out.get(duty.name, float("-inf"))
            rests = is_idle if duty.reads_measurements else at_rest
            if now < last + duty.interval(at_rest=rests).total_seconds():
                continue
            if (duty.needs_worker and not worker_alive) or (duty.needs_work and at_rest):
                continue
            if duty.deletes and watched_times.unsettled_jump() is not None:
                continue
            self._carried_out[duty.name] = now
            with isolated(f"The duty “{duty.name}”"):
                duty.carry_out()
        return LOOK_SECONDS_AT_REST if is_idle else LOOK_SECONDS

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

        The server would keep it, and the lock with it, for hours. A leader asks every few seconds;
        one that wakes up finds its connection gone before it can do anything.
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
