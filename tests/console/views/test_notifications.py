"""The page on which people choose what they are told of, and see what became of it."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from rollout.models import Delivery, LogEntry, Rollout, Subscription
from tests.console import journal

PAGE = "/rollout/notifications/"


@pytest.fixture(autouse=True)
def one_webhook(settings: Any) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": journal.ONE_WEBHOOK}


def kinds_of(**receiver: Any) -> dict[str, list[str]]:
    return {
        str(subscription.rollout_id or "all"): sorted(subscription.kinds)
        for subscription in Subscription.objects.filter(**receiver)
    }


def test_a_viewer_chooses_what_to_be_told_of_and_changes_it(
    rollout: Rollout, viewer: Client
) -> None:
    user = User.objects.get(username="viewer")
    viewer.post(PAGE, {"ticked": ["all:failed", f"{rollout.pk}:finished", f"{rollout.pk}:paused"]})
    assert kinds_of(user=user) == {"all": ["failed"], str(rollout.pk): ["finished", "paused"]}
    text = journal.text_of(viewer, PAGE)
    assert 'value="all:failed" checked' in text
    assert 'value="all:finished">' in text
    viewer.post(PAGE, {})
    assert kinds_of(user=user) == {}


def test_a_user_without_an_address_reads_that_nothing_is_sent(
    rollout: Rollout, viewer: Client
) -> None:
    warning = "Your account has no email address, so nothing is sent to you."
    before = journal.text_of(viewer, PAGE)
    assert warning not in before
    assert "ask an administrator to add one, then choose here." in before
    own = before.partition('id="mine"')[2].partition("</form>")[0]
    assert own.count('type="checkbox"') == own.count(" disabled>") > 0
    assert "Save" not in own
    assert '<th scope="row">Guardrails<br>' in own, "a person's pause is not of the kind"
    answer = viewer.post(PAGE, {"ticked": ["all:failed"]}, follow=True).content.decode()
    assert warning in answer
    assert "Notification preferences saved." in answer
    User.objects.filter(username="viewer").update(email="viewer@example.org")
    assert warning not in journal.text_of(viewer, PAGE)


@pytest.mark.parametrize("ticked", ["all:nonsense", "999999:failed", "failed", "all:failed'--"])
def test_a_kind_that_no_box_offers_changes_nothing(
    rollout: Rollout, viewer: Client, ticked: str
) -> None:
    user = User.objects.get(username="viewer")
    viewer.post(PAGE, {"ticked": ["all:failed"]})
    answer = viewer.post(PAGE, {"ticked": [ticked]}, follow=True)
    assert "choose again" in answer.content.decode()
    assert kinds_of(user=user) == {"all": ["failed"]}


def test_a_lead_chooses_for_a_webhook_and_the_log_says_so(rollout: Rollout, lead: Client) -> None:
    assert "Using defaults from settings" in journal.text_of(lead, PAGE)
    lead.post(f"{PAGE}webhooks/chat/choose/", {"ticked": [f"{rollout.pk}:failed"]})
    assert kinds_of(webhook="chat") == {str(rollout.pk): ["failed"]}
    entry = LogEntry.objects.get(event="notifications chosen")
    assert (entry.actor, entry.data["webhook"]) == ("lead", "chat")
    # To be told of nothing is a choice too.
    lead.post(f"{PAGE}webhooks/chat/choose/", {})
    assert kinds_of(webhook="chat") == {"all": []}
    assert "Customised here." in journal.text_of(lead, PAGE)


def test_neither_the_address_nor_the_secret_of_a_webhook_is_on_the_page(lead: Client) -> None:
    text = journal.text_of(lead, PAGE)
    assert "https://chat.example/…" in text
    assert "/T0/" not in text
    assert "s3cret" not in text


def test_a_test_goes_to_the_one_webhook(lead: Client, settings: Any) -> None:
    from rollout.notifications import deliveries

    lead.post(f"{PAGE}webhooks/chat/test/")
    deliveries.collect()
    assert Delivery.objects.get().recipient == "chat"
    assert lead.post(f"{PAGE}webhooks/unknown/test/").status_code == 404


def test_a_failed_delivery_says_why_and_is_sent_again_by_a_button(
    rollout: Rollout, lead: Client
) -> None:
    entry = journal.noted(rollout, "phase failed", phase=2)
    failed = journal.delivery(entry, state="failed", attempts=12, error="It answered <500>.")
    journal.delivery(
        journal.noted(rollout, "phase done"), state="delivered", attempts=1, status=204
    )
    text = journal.fragment_of(lead, PAGE)
    assert "It answered &lt;500&gt;." in text
    assert "Failed" in text
    assert "Delivered<" in text
    assert "Phase done" not in journal.text_of(lead, PAGE, state="not-taken").split("Deliveries")[1]
    lead.post(f"{PAGE}deliveries/{failed.pk}/resend/")
    failed.refresh_from_db()
    assert (failed.state, failed.attempts) == ("waiting", 0)


def test_sending_again_keeps_the_filter_and_the_page(rollout: Rollout, lead: Client) -> None:
    for number in range(30):
        journal.delivery(journal.noted(rollout, f"event {number}"), state="failed", attempts=number)
    at = f"{PAGE}?state=failed&order=most-attempts&after=20.999999"
    text = journal.text_of(lead, at)
    following = unescape(text.split('name="next" value="')[1].split('"')[0])
    assert following == f"{at}#deliveries"
    address = f"{PAGE}deliveries/{Delivery.objects.order_by('pk')[0].pk}/resend/"
    assert lead.post(address, {"next": following})["Location"] == following
    assert lead.post(address, {"next": "https://elsewhere.example/"})["Location"] == PAGE


def test_a_user_who_may_not_choose_sees_the_choices_without_buttons(
    rollout: Rollout, viewer: Client
) -> None:
    journal.delivery(journal.noted(rollout), state="failed", attempts=12)
    text = journal.text_of(viewer, PAGE)
    assert "/choose/" not in text
    assert "/test/" not in text
    assert "/resend/" not in text
    assert 'value="all:failed" checked disabled' in text
