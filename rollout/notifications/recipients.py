"""Who is told of an entry of the log."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.journal.events import Kind
from rollout.models import Channel, LogEntry, Subscription
from rollout.notifications.kinds import kind_of
from rollout.notifications.webhooks import Webhook, webhooks

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class Recipient:
    """A receiver by name; the user of an e-mail."""

    channel: Channel
    name: str
    user: "User | None" = None


class Recipients:
    """The subscriptions as they are now, asked for many entries."""

    def __init__(self) -> None:
        self._subscriptions = list(Subscription.objects.select_related("user", "rollout"))
        self._webhooks = webhooks()

    def of(self, entry: LogEntry) -> list[Recipient]:
        kind = kind_of(entry)
        if kind == Kind.TEST:
            name = str(entry.data.get("webhook", ""))
            return [Recipient(Channel.WEBHOOK, name)] if name in self._webhooks else []
        wanting = [
            one for one in self._subscriptions if kind in one.kinds and _is_about(one, entry)
        ]
        users = {one.user_id: one.user for one in wanting if one.user is not None}
        return [
            *(
                Recipient(Channel.WEBHOOK, hook.name)
                for hook in self._webhooks.values()
                if self._wants(hook, kind, wanting)
            ),
            *(Recipient(Channel.EMAIL, user.get_username(), user) for user in users.values()),
        ]

    def _wants(self, hook: Webhook, kind: str, wanting: Iterable[Subscription]) -> bool:
        if any(one.webhook == hook.name for one in self._subscriptions):
            return any(one.webhook == hook.name for one in wanting)
        # Nobody has chosen for it in the console.
        return kind in hook.kinds


def _is_about(one: Subscription, entry: LogEntry) -> bool:
    rollout = one.rollout
    return rollout is None or (rollout.plan, rollout.environment) == (entry.plan, entry.environment)


def choices_of(subscriptions: Iterable[Subscription]) -> Iterator[tuple[int | None, str]]:
    """(rollout's id or None for all, kind) for each kind that is subscribed to."""
    for one in subscriptions:
        for kind in one.kinds:
            yield one.rollout_id, kind
