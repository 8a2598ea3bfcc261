"""The only place that knows the task queue. It delivers ids; the journal decides what they mean."""

import time
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.db import DatabaseError, connections
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.tasks import async_task, queue_size

from rollout import journal
from rollout.models import Leased
from rollout.plan.errors import RolloutError

# What a message without a token asks for is done within this time or not at all.
FRESH_FOR = timedelta(hours=1)
# Clocks of several machines differ, and a task that is stopped at its timeout takes a moment.
MARGIN = timedelta(hours=1)
# Where the messages are, if they are in the journal's database.
TABLE = "django_q_ormq"
# Notified of each message.
CHANNEL = "rollout_queue"
# A message whose notification was missed is found after so long: clocks of machines differ, and
# through PgBouncer in transaction mode none arrives.
LOOK_EVERY_SECONDS = 5.0
WAIT_SECONDS = 0.5


class BrokerUnreachable(RolloutError):
    """The broker did not answer."""


class NotifyingBroker(ORM):  # type: ignore[misc]  # of a library without types
    """Messages in the journal's database; a worker that waits is told of them, and looks seldom.

    ``Q_CLUSTER["poll"]`` is 0 with it: waiting is done here.
    """

    _listening: psycopg.Connection[Any] | None = None
    _next_look = 0.0

    def enqueue(self, task: str) -> int:
        number: int = super().enqueue(task)
        with connections[Conf.ORM].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
        return number

    def dequeue(self) -> list[tuple[int, str]] | None:
        if time.monotonic() < self._next_look and not self._is_notified():
            return None
        self._listen()
        messages: list[tuple[int, str]] | None = super().dequeue()
        self._next_look = 0.0 if messages else time.monotonic() + LOOK_EVERY_SECONDS
        return messages

    def _listen(self) -> None:
        """Before messages are looked for, so that none comes unnoticed in between."""
        self.get_connection()  # Closes one that is old or broken.
        with connections[Conf.ORM].cursor() as cursor:
            if self._listening is not connections[Conf.ORM].connection:
                cursor.execute(f"LISTEN {CHANNEL}")
                self._listening = connections[Conf.ORM].connection

    def _is_notified(self) -> bool:
        """Wait a moment for it; the caller asks in between whether it is to stop."""
        assert self._listening is not None
        try:
            return any(True for _ in self._listening.notifies(timeout=WAIT_SECONDS, stop_after=1))
        except psycopg.Error:
            # The look connects again, or fails and says so.
            connections[Conf.ORM].close()
            return True


def send(task: str, *arguments: Any) -> None:
    """Queue a function of ``rollout.tasks`` once the surrounding transaction has committed.

    A broker that is away fails nobody: the work is in the journal, and the watchdog
    sends it again.
    """
    journal.on_commit(lambda: async_task(f"rollout.tasks.{task}", *arguments), robust=True)


def send_while_fresh(task: str, *arguments: Any) -> None:
    """Queue a function that no token in the journal guards: run late, it does nothing."""
    send(task, *arguments, (timezone.now() + FRESH_FOR).isoformat())


def forget_lost() -> int:
    """Remove messages that a worker fetched and died with; how many there were.

    A broker in the database would hand them out once more after days. Removed are those that were
    fetched longer ago than any task may take. The work is in the journal.
    """
    broker = get_broker()
    if not isinstance(broker, ORM) or Conf.TIMEOUT is None:
        return 0
    # A message is locked from the moment it is fetched until it would be handed out again.
    now, locked_for = timezone.now(), timedelta(seconds=Conf.RETRY)
    begun_by = now - timedelta(seconds=Conf.TIMEOUT) - MARGIN
    lost = broker.get_connection().filter(
        key=broker.list_key, lock__gt=now, lock__lt=begun_by + locked_for
    )
    return int(lost.delete()[0])


def send_work(work: Leased) -> None:
    """Have a worker continue leased work. Only its present token is accepted."""
    send(work.task, work.pk, work.token)


def send_deliveries(asked_at: datetime) -> None:
    """Have a worker send what is due to receivers."""
    send("deliver", asked_at.isoformat())


def waiting() -> int:
    """How many messages nobody has fetched yet. Raises BrokerUnreachable.

    Raises DatabaseError if the database is unavailable.
    """
    try:
        return int(queue_size())
    except DatabaseError:
        raise
    except Exception as error:  # whatever the broker's own library raises
        raise BrokerUnreachable(str(error)) from error
