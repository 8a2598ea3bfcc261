"""The recipients of an entry of the activity log."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from rollout.journal.events import Kind
from rollout.models import Channel, LogEntry, Subscription
from rollout.notifications.kinds import kind_of
from rollout.notifications.webhooks import Webhook, webhooks

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class Recipient:
    """A webhook by its name, or a user by theirs."""

    channel: Channel
    name: str
    user: "User | None" = None


class Recipients:
    """The subscriptions, read once for many entries."""

    def __init__(self) -> None:
        self._subscriptions = list(Subscription.objects.select_related("user", "rollout"))
        self._webhooks = webhooks()

    def of(self, entry: LogEntry) -> list[Recipient]:
        kind = kind_of(entry)
        if kind == Kind.TEST:
            name = str(entry.data.get("webhook", ""))
            return [Recipient(Channel.WEBHOOK, name)] if name in self._webhooks else []
        wanting = [
            subscription
            for subscription in self._subscriptions
            if kind in subscription.kinds and _is_about(subscription, entry)
        ]
        users = {s.user_id: s.user for s in wanting if s.user is not None}
        users |= {user.pk: user for user in _addressees(entry)}
        return [
            *(
                Recipient(Channel.WEBHOOK, hook.name)
                for hook in self._webhooks.values()
                if self._wants(hook, kind, wanting)
            ),
            *(Recipient(Channel.EMAIL, user.get_username(), user) for user in users.values()),
        ]

    def _wants(self, hook: Webhook, kind: str, wanting: Iterable[Subscription]) -> bool:
        if any(s.webhook == hook.name for s in self._subscriptions):
            return any(s.webhook == hook.name for s in wanting)
        # Nobody has chosen for it in the console.
        return kind in hook.kinds


def _addressees(entry: LogEntry) -> "Iterable[User]":
    """Users addressed by name who can get mail, whatever they subscribed to."""
    if not (names := entry.data.get("addressees")):
        return []
    users = get_user_model()
    return users._default_manager.filter(
        **{f"{users.USERNAME_FIELD}__in": names, "is_active": True}
    ).exclude(**{users.get_email_field_name(): ""})


def _is_about(subscription: Subscription, entry: LogEntry) -> bool:
    rollout = subscription.rollout
    return rollout is None or (rollout.plan, rollout.environment) == (entry.plan, entry.environment)


def choices_of(subscriptions: Iterable[Subscription]) -> Iterator[tuple[int | None, str]]:
    """(rollout's id or None for all, kind) for each kind that is subscribed to."""
    for subscription in subscriptions:
        for kind in subscription.kinds:
            yield subscription.rollout_id, kind
