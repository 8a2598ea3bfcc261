"""Entries of the log find their receivers, in order, once each, and none is lost."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.utils import timezone

from rollout.models import Delivery, LogEntry, Outbox, Rollout, Subscription
from rollout.notifications import deliveries, kinds
from tests.console import journal
from tests.support.receivers import Receiver, receiver

pytestmark = pytest.mark.django_db


def hooks(settings: Any, **webhooks: dict[str, Any]) -> None:
    settings.ROLLOUT = {
        **settings.ROLLOUT,
        "BASE_URL": "https://console.example",
        "NOTIFICATIONS": {"WEBHOOKS": webhooks, "ALLOW_HTTP": True},
    }


@pytest.fixture
def chat(settings: Any) -> Any:
    with receiver() as there:
        hooks(settings, chat={"URL": there.url, "SECRET": "s3cret"})
        yield there


def reader(name: str = "grace", email: str = "grace@example.org") -> User:
    user = User.objects.create_user(name, email)
    user.groups.add(Group.objects.get(name="viewer"))
    return user


def carry_out() -> None:
    """Be the watchdog and the worker until nothing is due."""
    deliveries.collect()
    while deliveries.ask_for_delivery():
        asked = Outbox.objects.get().asked_at
        assert asked is not None
        deliveries.deliver_due(asked)


def time_passes() -> None:
    Delivery.objects.filter(state="waiting").update(due_at=timezone.now())


class TestKinds:
    @pytest.mark.parametrize(
        ("event", "data", "kind"),
        [
            ("phase started", {}, "started"),
            ("phase done", {}, "finished"),
            ("phase failed", {}, "failed"),
            ("paused by rule", {}, "paused"),
            ("audit done", {"status": "mismatched"}, "mismatches"),
            ("audit done", {"status": "clean"}, "other"),
            ("approval asked for", {}, "approval"),
            ("approved", {}, "approval"),
            ("override confirmed", {}, "approval"),
            ("what nobody thought of", {}, "other"),
        ],
    )
    def test_each_entry_is_of_one_kind(
        self, rollout: Rollout, event: str, data: dict[str, Any], kind: str
    ) -> None:
        entry = journal.noted(rollout, event, data=data)
        assert kinds.kind_of(entry) == kind
        assert kind in kinds.KINDS


class TestWhoIsTold:
    def test_a_webhook_gets_the_usual_kinds_until_somebody_chooses(
        self, rollout: Rollout, settings: Any
    ) -> None:
        hooks(
            settings,
            usual={"URL": "https://a.example"},
            failures={"URL": "https://b.example", "EVENTS": ["failed"]},
        )
        for event in ("phase failed", "phase done", "step done"):
            journal.noted(rollout, event)
        deliveries.collect()
        deliveries_made = Delivery.objects.order_by("pk").values_list("recipient", "entry__event")
        assert list(deliveries_made) == [
            ("usual", "phase failed"),
            ("failures", "phase failed"),
            ("usual", "phase done"),
        ]

    def test_subscription_counts_for_its_rollout_alone(
        self, rollout: Rollout, settings: Any
    ) -> None:
        hooks(settings, chat={"URL": "https://a.example"})
        other = Rollout.objects.create(plan="another", environment="production")
        Subscription.objects.create(webhook="chat", rollout=other, kinds=["failed"])
        Subscription.objects.create(user=reader(), kinds=["finished"])
        journal.noted(rollout, "phase failed")
        journal.noted(other, "phase failed")
        journal.noted(rollout, "phase done")
        deliveries.collect()
        deliveries_made = Delivery.objects.order_by("pk").values_list("recipient", "entry__plan")
        assert list(deliveries_made) == [("chat", "another"), ("grace", journal.PLAN)]

    def test_entries_are_looked_at_once(self, rollout: Rollout, chat: Receiver) -> None:
        journal.noted(rollout, "phase failed")
        assert deliveries.collect() == 1
        assert deliveries.collect() == 0
        assert Delivery.objects.count() == 1

    def test_a_look_without_news_asks_two_questions(
        self, chat: Receiver, django_assert_num_queries: Any
    ) -> None:
        # And a savepoint around them.
        with django_assert_num_queries(4):
            deliveries.collect()


class TestDelivery:
    def test_chat_tools_and_code_find_what_they_need(
        self, rollout: Rollout, chat: Receiver
    ) -> None:
        entry = journal.noted(
            rollout, "phase failed", phase=2, message="<!channel> @here & co", data={"run": 5}
        )
        carry_out()
        content = chat.taken[0].json
        assert content["type"] == "rollout.failed"
        assert content["text"].startswith(
            f"{journal.PLAN} in production: Phase failed, phase 2\n"
            "&lt;!channel&gt; @\u200bhere &amp; co\n"
        )
        assert content["text"].endswith(
            f"https://console.example/rollout/{journal.PLAN}/production/phases/2/"
        )
        assert content["data"]["message"] == "<!channel> @here & co"
        assert content["data"]["entry"] == entry.pk
        assert content["data"]["details"] == {"run": 5}
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 1, 204)

    def test_a_receiver_that_recovers_gets_everything_in_order(
        self, rollout: Rollout, chat: Receiver
    ) -> None:
        chat.does = "refuse"
        for event in ("phase started", "phase failed", "retried"):
            journal.noted(rollout, event)
        carry_out()
        # Only the oldest is tried: the others would overtake it.
        assert len(chat.received) == 1
        first = Delivery.objects.order_by("pk")[0]
        assert (first.state, first.attempts, first.error) == ("waiting", 1, "HTTP 500.")
        assert first.due_at > timezone.now() + timedelta(seconds=7)
        chat.does = "take"
        carry_out()
        assert chat.taken == []
        time_passes()
        carry_out()
        assert chat.events == ["phase started", "phase failed", "retried"]
        assert chat.received[0].headers["webhook-id"] == chat.received[1].headers["webhook-id"]
        assert {delivery.error for delivery in Delivery.objects.all()} == {""}

    def test_an_event_that_is_never_accepted_is_given_up_and_the_next_is_sent(
        self, rollout: Rollout, chat: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deliveries, "MAX_ATTEMPTS", 3)
        chat.does = "refuse"
        journal.noted(rollout, "phase started")
        journal.noted(rollout, "phase failed")
        for _ in range(3):
            carry_out()
            time_passes()
        given_up = Delivery.objects.order_by("pk")[0]
        assert (given_up.state, given_up.attempts, given_up.status) == ("failed", 3, 500)
        chat.does = "take"
        carry_out()
        assert chat.events == ["phase failed"]
        deliveries.resend(given_up)
        carry_out()
        assert chat.events == ["phase failed", "phase started"]

    def test_one_receiver_that_fails_delays_no_other(
        self, rollout: Rollout, chat: Receiver, settings: Any
    ) -> None:
        with receiver("refuse") as broken:
            hooks(settings, broken={"URL": broken.url}, chat={"URL": chat.url})
            for event in ("phase started", "phase done"):
                journal.noted(rollout, event)
            carry_out()
        assert chat.events == ["phase started", "phase done"]
        assert len(broken.received) == 1

    def test_pauses_grow_to_ten_minutes_and_end_within_two_hours(self) -> None:
        pauses = [deliveries.pause_after(n) for n in range(1, deliveries.MAX_ATTEMPTS)]
        assert timedelta(seconds=8) <= pauses[0] <= timedelta(seconds=10)
        assert max(pauses) <= timedelta(minutes=10)
        assert timedelta(hours=1) < sum(pauses, timedelta()) < timedelta(hours=2)

    def test_a_message_that_comes_twice_or_late_delivers_nothing_twice(
        self, rollout: Rollout, chat: Receiver
    ) -> None:
        journal.noted(rollout, "phase failed")
        deliveries.collect()
        assert deliveries.ask_for_delivery()
        asked = Outbox.objects.get().asked_at
        assert asked is not None
        # While a worker is at it no other is asked.
        assert not deliveries.ask_for_delivery()
        deliveries.deliver_due(asked)
        deliveries.deliver_due(asked)
        assert len(chat.received) == 1

    def test_a_worker_that_died_at_it_is_replaced_after_a_minute(
        self, rollout: Rollout, chat: Receiver
    ) -> None:
        journal.noted(rollout, "phase failed")
        deliveries.collect()
        assert deliveries.ask_for_delivery()
        Outbox.objects.update(asked_at=timezone.now() - timedelta(seconds=61))
        carry_out()
        assert chat.events == ["phase failed"]

    def test_a_webhook_that_left_the_settings_is_said_to_have(
        self, rollout: Rollout, chat: Receiver, settings: Any
    ) -> None:
        journal.noted(rollout, "phase failed")
        deliveries.collect()
        hooks(settings)
        carry_out()
        assert "Webhook removed from settings" in Delivery.objects.get().error


class TestMail:
    def tell(self, rollout: Rollout, user: User, **entry: Any) -> Delivery:
        Subscription.objects.create(user=user, rollout=rollout, kinds=["failed"])
        journal.noted(rollout, "phase failed", **entry)
        carry_out()
        return Delivery.objects.get()

    def test_mail_says_what_happened_and_where_to_look(
        self, rollout: Rollout, settings: Any
    ) -> None:
        hooks(settings)
        delivery = self.tell(rollout, reader(), phase=2, message="No disk.\nBcc: x@example.org")
        assert delivery.state == "delivered"
        sent = mail.outbox[0]
        assert sent.to == ["grace@example.org"]
        assert sent.subject == f"[Rollout] {journal.PLAN} in production: Phase failed, phase 2"
        assert "No disk." in sent.body
        assert "https://console.example/rollout/" in sent.body
        assert sent.recipients() == ["grace@example.org"]

    @pytest.mark.parametrize(
        ("spoil", "error"),
        [
            (lambda user: user.groups.clear(), "no longer has access"),
            (lambda user: User.objects.update(is_active=False), "no longer has access"),
            (lambda user: User.objects.update(email=""), "has no email address"),
        ],
    )
    def test_a_user_who_may_no_longer_read_a_rollout_gets_no_mail(
        self, rollout: Rollout, spoil: Any, error: str
    ) -> None:
        user = reader()
        spoil(user)
        assert error in self.tell(rollout, user).error
        assert mail.outbox == []

    def test_a_mail_server_that_is_away_is_tried_again(
        self, rollout: Rollout, settings: Any
    ) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
        delivery = self.tell(rollout, reader())
        assert delivery.state == "waiting"
        assert "Mail server rejected it: ConnectionRefusedError" in delivery.error


def test_deliveries_of_long_ago_are_forgotten_and_their_entries_kept(rollout: Rollout) -> None:
    entry = journal.noted(rollout)
    long_ago = timezone.now() - timedelta(days=91)
    journal.delivery(entry, state="delivered", finished_at=long_ago)
    journal.delivery(journal.noted(rollout), state="waiting")
    deliveries.delete_old()
    assert [delivery.state for delivery in Delivery.objects.all()] == ["waiting"]
    assert LogEntry.objects.filter(pk=entry.pk).exists()
