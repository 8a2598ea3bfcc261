"""Signs of life of workers and watchdogs, each given by its real work."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from rollout.journal.moments import in_words
from rollout.models import Heartbeat

WORKER = "worker"
WATCHDOG = "watchdog"
# After this long without a sign of life a process counts as not running.
SILENCE = timedelta(seconds=12)
_RETENTION = timedelta(days=1)


def process_name() -> str:
    """host:pid"""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(kind: str) -> None:
    """Record that this process is alive."""
    seen = {"kind": kind, "seen_at": Now()}
    if not Heartbeat.objects.filter(name=process_name()).update(**seen):
        Heartbeat.objects.update_or_create(name=process_name(), defaults=seen)


def delete_old() -> None:
    """Delete signs of processes long gone, and of a clock that was set back since."""
    Heartbeat.objects.filter(seen_at__lt=Now() - _RETENTION).delete()
    Heartbeat.objects.exclude(plausible()).delete()


def plausible() -> Q:
    """Signs of life that are not in the future, as those before a clock was set back are.

    They would hide newer ones.
    """
    return Q(seen_at__lt=Now() + SILENCE)


@dataclass(frozen=True)
class Liveness:
    """Whether a worker and a watchdog were seen of late, and what to do if one was not."""

    worker_alive: bool
    watchdog_alive: bool
    worker_message: str = ""
    watchdog_message: str = ""

    @property
    def message(self) -> str:
        return f"{self.watchdog_message} {self.worker_message}".strip()


def last_seen(kind: str) -> datetime | None:
    """When any process of a kind was last seen."""
    return (
        Heartbeat.objects.filter(plausible(), kind=kind)
        .order_by("-seen_at")
        .values_list("seen_at", flat=True)
        .first()
    )


def liveness() -> Liveness:
    """The state of workers and watchdogs. A worker is seen when it runs a beat."""
    seen = {
        kind: (newest, asked_at)
        for kind, newest, asked_at in Heartbeat.objects.filter(plausible())
        .order_by("kind")
        .values_list("kind")
        .annotate(newest=Max("seen_at"), asked_at=Now())
    }
    worker, at = seen.get(WORKER, (None, None))
    watchdog, at = seen.get(WATCHDOG, (None, at))
    return liveness_of(worker, watchdog, at or timezone.now())


def liveness_of(worker: datetime | None, watchdog: datetime | None, now: datetime) -> Liveness:
    """The same from when a worker and a watchdog were last seen.

    ``now`` is by the database's clock, as both are: the clocks of machines differ.
    """
    worker_alive = worker is not None and now - worker < SILENCE
    watchdog_alive = watchdog is not None and now - watchdog < SILENCE
    return Liveness(
        worker_alive,
        watchdog_alive,
        worker_message=""
        if worker_alive
        else f"No worker online ({_since(worker)}): queued work waits until one starts. "
        "Start it: manage.py qcluster.",
        watchdog_message=""
        if watchdog_alive
        else f"No watchdog online ({_since(watchdog)}): the work of a crashed process is not "
        "recovered. Start it: manage.py rollout watchdog.",
    )


def _since(seen_at: datetime | None) -> str:
    return f"last seen {in_words(seen_at)}" if seen_at else "never seen"
