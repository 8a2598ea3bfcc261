"""A task through the queue every few seconds: it proves that a worker is alive."""

import time
from collections.abc import Callable
from datetime import datetime

from rollout import queue
from rollout.journal import heartbeats

BEAT_EVERY_SECONDS = 3.0
# A beat that no worker has handled by then counts as lost with its queue.
LOST_AFTER_SECONDS = 30.0


class QueueBeat:
    """Remembers when it sent the last beat, by a clock that nobody sets."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent_at = float("-inf")
        self._seen_before: datetime | None = None

    def send_due(self) -> None:
        """Send a beat, unless the one before it still waits in the queue."""
        now = self._clock()
        seen = heartbeats.last_seen(heartbeats.WORKER)
        age = now - self._sent_at
        if (seen != self._seen_before and age >= BEAT_EVERY_SECONDS) or age >= LOST_AFTER_SECONDS:
            self._sent_at, self._seen_before = now, seen
            queue.send("beat")
