"""A task through the queue every few seconds: a worker that carries it out is seen to live."""

from datetime import timedelta

from django.utils import timezone

from rollout import queue
from rollout.journal import heartbeats

BEAT_EVERY = timedelta(seconds=3)
# A beat that nobody has carried out for so long counts as lost with its queue.
BEAT_LOST = timedelta(seconds=30)


class QueueBeat:
    """Remembers when it sent the last beat."""

    def __init__(self) -> None:
        self._sent_at = timezone.now() - BEAT_LOST

    def send_due(self) -> None:
        """Send a beat, unless the one before it still waits in the queue."""
        now = timezone.now()
        seen = heartbeats.last_seen(heartbeats.WORKER)
        answered = seen is not None and seen >= self._sent_at
        age = now - self._sent_at
        if (answered and age >= BEAT_EVERY) or age >= BEAT_LOST:
            self._sent_at = now
            queue.send("beat")
