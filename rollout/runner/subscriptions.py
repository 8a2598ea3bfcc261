"""Which events go to whom: a user's own e-mails, and webhooks."""

from django.contrib.auth.models import User
from django.db.models import QuerySet

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor
from rollout.journal.events import Event
from rollout.models import Subscription
from rollout.notifications.webhooks import Webhook


def choose_own(user: User, chosen: list[Subscription]) -> None:
    """Send a user these events, and no others."""
    _replace(Subscription.objects.filter(user=user), chosen)


def choose_for(
    hook: Webhook, chosen: list[Subscription], *, ticked: list[str], actor: Actor
) -> None:
    """Send a webhook these events, and no others; the log keeps what was ``ticked``."""
    with journal.atomic():
        # With nothing ticked a row remains: it says that this was chosen.
        _replace(
            Subscription.objects.filter(webhook=hook.name),
            chosen or [Subscription(webhook=hook.name)],
        )
        activity_log.record(
            Event.NOTIFICATIONS_CHOSEN,
            f"Events of webhook {hook.name} updated.",
            actor=actor,
            source="web",
            webhook=hook.name,
            ticked=ticked,
        )


def send_test(hook: Webhook, *, actor: Actor) -> None:
    """Send a webhook a test, as an event of its own."""
    activity_log.record(
        Event.NOTIFICATION_TEST,
        f"Test delivery from Rollout to webhook {hook.name}.",
        actor=actor,
        source="web",
        webhook=hook.name,
    )


def _replace(present: QuerySet[Subscription], chosen: list[Subscription]) -> None:
    with journal.atomic():
        present.delete()
        Subscription.objects.bulk_create(chosen)
