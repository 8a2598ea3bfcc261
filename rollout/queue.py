"""The only place that knows the task queue. It delivers ids; the journal decides what they mean."""

from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
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


class BrokerUnreachable(RolloutError):
    """The broker did not answer."""


def send(task: str, *arguments: Any) -> None:
    """Queue a function of ``rollout.tasks`` once the surrounding transaction has committed.

    A broker that is away fails nobody: what was to be done is in the journal, and the watchdog
    sends it again.
    """
    journal.on_commit(lambda: async_task(f"rollout.tasks.{task}", *arguments), robust=True)


def send_while_fresh(task: str, *arguments: Any) -> None:
    """Queue a function that no token in the journal guards: run late, it does nothing."""
    send(task, *arguments, (timezone.now() + FRESH_FOR).isoformat())


def forget_lost() -> int:
    """Remove messages that a worker fetched and died with; how many there were.

    A broker in the database would hand them out once more after days. Removed are those that were
    fetched longer ago than any task may take. What was to be done is in the journal.
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
