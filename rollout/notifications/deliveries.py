"""Delivers entries of the activity log, with retries until they are accepted or given up."""

import random
import smtplib
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core import mail
from django.db.models import F
from django.utils import timezone

from rollout import journal, queue
from rollout.journal.transitions import move
from rollout.models import Channel, Delivery, DeliveryState, LogEntry, Outbox
from rollout.notifications import payloads, webhooks
from rollout.notifications.kinds import kind_of
from rollout.notifications.recipients import Recipients
from rollout.notifications.webhooks import Outcome

MAX_ATTEMPTS = 12
FIRST_PAUSE = timedelta(seconds=10)
MAX_PAUSE = timedelta(minutes=10)
# A worker begins no further delivery after that, so that other messages of the queue get a turn.
SLICE_SECONDS = 5.0
# A worker that was asked to deliver and has not finished by then is taken for dead.
WORKER_TIMEOUT = timedelta(seconds=60)
RETENTION = timedelta(days=90)
BATCH_SIZE = 500


def collect() -> int:
    """Create a delivery for each receiver of each new entry; how many entries there were.

    Entries are committed in the order of their ids, because their writers take turns: none
    can appear behind those that were looked at.
    """
    with journal.atomic():
        outbox = Outbox.objects.select_for_update().get()
        entries = list(
            LogEntry.objects.filter(pk__gt=outbox.last_entry).order_by("pk")[:BATCH_SIZE]
        )
        if not entries:
            return 0
        recipients = Recipients()
        now = timezone.now()
        Delivery.objects.bulk_create(
            (
                Delivery(
                    entry=entry,
                    channel=recipient.channel,
                    recipient=recipient.name,
                    user=recipient.user,
                    kind=kind_of(entry),
                    due_at=now,
                )
                for entry in entries
                for recipient in recipients.of(entry)
            ),
            ignore_conflicts=True,
        )
        outbox.last_entry = entries[-1].pk
        outbox.save(update_fields=["last_entry"])
    return len(entries)


def ask_for_delivery() -> bool:
    """Ask a worker to deliver what is due, unless one is delivering; whether one was asked."""
    now = timezone.now()
    if not any(delivery.due_at <= now for delivery in _oldest_of_each_receiver()):
        return False
    free = Outbox.objects.filter(asked_at=None) | Outbox.objects.filter(
        asked_at__lt=now - WORKER_TIMEOUT
    )
    with journal.atomic():
        asked = free.update(asked_at=now)
        if asked:
            queue.send_deliveries(now)
    return bool(asked)


def deliver_due(asked_at: datetime) -> None:
    """Deliver what is due for a slice of time, in one worker at a time."""
    if not Outbox.objects.filter(asked_at=asked_at).exists():
        return
    until = time.monotonic() + SLICE_SECONDS
    try:
        while time.monotonic() < until and (delivery := _most_urgent()) is not None:
            _try(delivery)
    finally:
        Outbox.objects.filter(asked_at=asked_at).update(asked_at=None)


def resend(delivery: Delivery) -> None:
    """Try a delivery again at once, from the start."""
    move(delivery, DeliveryState.WAITING, attempts=0, due_at=timezone.now(), finished_at=None)


def delete_old() -> None:
    """Delete old deliveries; the log keeps what they were about."""
    Delivery.objects.filter(finished_at__lt=timezone.now() - RETENTION).delete()


def _oldest_of_each_receiver() -> Iterable[Delivery]:
    """Later deliveries wait for these, so that each receiver gets entries in their order."""
    return (
        Delivery.objects.filter(state=DeliveryState.WAITING)
        .order_by("channel", "recipient", "pk")
        .distinct("channel", "recipient")
    )


def _most_urgent() -> Delivery | None:
    now = timezone.now()
    due = [delivery for delivery in _oldest_of_each_receiver() if delivery.due_at <= now]
    return min(due, key=lambda delivery: delivery.due_at, default=None)


def _try(delivery: Delivery) -> None:
    attempts = delivery.attempts + 1
    mine = Delivery.objects.filter(
        pk=delivery.pk, state=DeliveryState.WAITING, attempts=delivery.attempts
    )
    # Should this process die, it is tried again after the pause.
    if not mine.update(attempts=F("attempts") + 1, due_at=timezone.now() + pause_after(attempts)):
        return
    outcome = _deliver(delivery)
    now = timezone.now()
    state = DeliveryState.WAITING
    fields: dict[str, Any] = {"due_at": now + pause_after(attempts)}
    if not outcome.error or attempts >= MAX_ATTEMPTS:
        state = DeliveryState.FAILED if outcome.error else DeliveryState.DELIVERED
        fields = {"finished_at": now}
    move(
        *(delivery, state),
        expected={"attempts": attempts},
        error=outcome.error,
        status=outcome.status,
        **fields,
    )


def pause_after(attempts: int) -> timedelta:
    """Pause after a failed attempt: three times as long each time, with jitter."""
    times: int = 3 ** min(attempts - 1, 10)
    return min(FIRST_PAUSE * times, MAX_PAUSE) * random.uniform(0.8, 1.0)


def _deliver(delivery: Delivery) -> Outcome:
    if delivery.channel == Channel.EMAIL:
        return _mail(delivery)
    hook = webhooks.webhooks().get(delivery.recipient)
    if hook is None:
        return Outcome("Webhook removed from settings. Add it again, or ignore this delivery.")
    return webhooks.post(
        hook,
        id=f"rollout-{delivery.entry_id}",
        timestamp=int(time.time()),
        body=payloads.as_json(delivery.entry),
    )


def _mail(delivery: Delivery) -> Outcome:
    user = delivery.user
    if user is None or not user.is_active or not user.has_perm("rollout.view_rollout"):
        return Outcome(
            "User no longer has access. Grant permission to view rollouts, or ignore this delivery."
        )
    address = address_of(user)
    if not address:
        return Outcome("User has no email address. Ask a user administrator to add it.")
    subject, text = payloads.as_mail(delivery.entry)
    try:
        with mail.get_connection(timeout=webhooks.TIMEOUT_SECONDS) as connection:
            mail.EmailMessage(subject, text, to=[address], connection=connection).send()
    except (OSError, smtplib.SMTPException) as error:
        return Outcome(f"Mail server rejected it: {type(error).__name__}: {error}"[:500])
    return Outcome()


def address_of(user: AbstractBaseUser) -> str:
    """Where a user gets e-mail; empty for nowhere."""
    return getattr(user, user.get_email_field_name(), "") or ""
