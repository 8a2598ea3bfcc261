"""What waits for the reader, and its number in the navigation."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rollout import gates
from rollout.engine.mapping import ReviewCounts
from rollout.gates import mappings
from rollout.models import Rollout, ScheduledStart, SignOff
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, ran, text_of

INBOX = "/rollout/inbox/"


def test_an_empty_inbox_leads_to_the_phases_that_its_reader_may_start(
    rollout: Rollout, lead: Client, viewer: Client
) -> None:
    link = f'<a href="{PAGE}phases/%d/">Phase %d of Property classification, production</a>'
    assert link % (0, 0) in text_of(lead, INBOX)
    assert "You may start" not in text_of(viewer, INBOX)
    ran(rollout, 0)
    assert link % (1, 1) in text_of(lead, INBOX)
    at = timezone.now() + timedelta(days=1)
    fields = {
        "zone": "UTC",
        "actor_name": "ada",
        "phase_digest": plans.get(rollout.plan).digest_of(1),
    }
    ScheduledStart.objects.create(rollout=rollout, phase=1, at=at, **fields)
    assert f"{link % (1, 1)}; scheduled by ada for " in " ".join(text_of(lead, INBOX).split())
    ran(rollout, 1, "running")
    assert "You may start" not in text_of(lead, INBOX)


def test_decisions_that_wait_for_a_lead_are_listed_and_counted(
    rollout: Rollout, lead: Client, viewer: Client
) -> None:
    assert "Nothing waits for you." in text_of(lead, INBOX)
    for phase in (0, 1, 2):
        ran(rollout, phase)
    request = journal.signed(rollout, "request", by="ada")
    journal.signed(rollout, "override", by="ada", subject="soak", reason="It is urgent.")
    journal.restored(journal.taken(rollout), actor_name="ada")
    text = text_of(lead, INBOX)
    assert f'<a href="{PAGE}phases/3/approval/">Approve phase 3</a>' in text
    assert "Confirm the override of gate “Soak” before phase 3" in text
    assert "Approve the restore of snapshot" in text
    # Each leads to the part of a page that has its button.
    for what, button in (
        ("Confirm the override", "Confirm override"),
        ("restore", "Cancel restore"),
    ):
        address, _, part = next(
            link
            for link, label in re.findall(r'<a href="([^"]+)">([^<]+)</a>', text)
            if what in label
        ).partition("#")
        assert button in text_of(lead, address).partition(f'id="{part}"')[2], what
    assert 'title="Decisions that wait for you">3</span>' in text_of(lead, PAGE)
    # A viewer decides on nothing.
    assert "Nothing waits for you." in text_of(viewer, INBOX)
    # A request for what the phase no longer is counts no more.
    SignOff.objects.filter(pk=request.pk).update(phase_digest="another")
    assert "Approve phase 3" not in text_of(lead, INBOX)


@pytest.mark.usefixtures("shared_parts")
def test_pages_ask_for_the_inbox_once_until_something_is_written_down(
    rollout: Rollout, lead: Client
) -> None:
    def asked(page: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            text = text_of(lead, page)
        assert ('title="Decisions that wait for you"' in text) == is_waiting
        return [query["sql"] for query in captured if "rollout_restore" in query["sql"]]

    is_waiting = False
    assert len(asked("/rollout/glossary/")) == 1
    assert not asked("/rollout/notifications/")
    journal.signed(rollout, "request", by="ada")
    journal.noted(rollout, "approval asked for")
    is_waiting = True
    assert len(asked("/rollout/glossary/")) == 1


def test_nobody_is_asked_for_what_they_requested_themselves(rollout: Rollout, lead: Client) -> None:
    name = User.objects.get(pk=lead.session["_auth_user_id"]).get_username()
    journal.signed(rollout, "request", by=name)
    journal.restored(journal.taken(rollout), actor_name=name)
    assert "Nothing waits for you." in text_of(lead, INBOX)


def test_a_failed_phase_waits_until_it_is_retried(rollout: Rollout, lead: Client) -> None:
    ran(rollout, 0)
    ran(rollout, 1, "failed", error="no", advice="Retry.")
    assert f'<a href="{PAGE}phases/1/">Phase 1 failed</a>' in text_of(lead, INBOX)
    ran(rollout, 1)
    assert "Nothing waits for you." in text_of(lead, INBOX)


def test_a_paused_phase_says_by_whom_and_since_when(rollout: Rollout, lead: Client) -> None:
    began = timezone.now() - timedelta(hours=3)
    pause = {"by": "guardrail slow", "rule": "slow", "at": began.isoformat(), "message": "p95"}
    run = ran(rollout, 0, "paused", halts=[[began.isoformat(), None]], pause=pause)
    text = text_of(lead, INBOX)
    assert f'<a href="{PAGE}phases/0/">Phase 0 is paused by guardrail slow</a>' in text
    assert "3 h ago" in text
    run.pause = None
    run.save()
    assert ">Phase 0 is paused</a>" in text_of(lead, INBOX)


def test_a_request_shows_its_comment_and_comes_last_where_it_is_for_others(
    rollout: Rollout, lead: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    name = User.objects.get(pk=lead.session["_auth_user_id"]).get_username()
    journal.signed(rollout, "request", by="ada", addressees=["grace"], reason="For <grace>.")
    journal.signed(rollout, "request", by="grace", addressees=[name], reason="For you.")
    text = text_of(lead, INBOX)
    assert text.index("For you.") < text.index("For &lt;grace&gt;.")
    assert f"To {name}" in text
    SignOff.objects.filter(actor_name="grace").update(reminded_at=timezone.now())
    assert "Reminder sent" in text_of(lead, INBOX)


def test_a_mapping_waits_for_its_review_between_phases_2_and_3(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    waits = f'<a href="{PAGE}mappings/?show=open">Review the mapping before phase 3</a>'
    ran(rollout, 2)
    assert waits not in text_of(engineer, INBOX), "nobody counted its values"
    audit = journal.audited(rollout, mapping_values=62, mapping_reviewed=2)
    assert waits in text_of(engineer, INBOX)
    assert waits not in text_of(viewer, INBOX)
    journal.reviewed(rollout, at=audit.started_at - timedelta(hours=1), decided=60)
    assert waits in text_of(engineer, INBOX), "the audit has counted those"
    now = timezone.now() + timedelta(minutes=1)
    journal.reviewed(rollout, at=now, decided=59)
    assert waits in text_of(engineer, INBOX)
    journal.reviewed(rollout, at=now, decided=1)
    assert waits not in text_of(engineer, INBOX)
    journal.audited(rollout, mapping_values=63, mapping_reviewed=62, started_at=now)
    ran(rollout, 3)
    assert waits not in text_of(engineer, INBOX), "phase 3 is done"
    ran(rollout, 3, direction="backward")
    journal.reviewed(rollout, at=now, decided=0)
    assert waits in text_of(engineer, INBOX)
    ran(rollout, 2, direction="backward")
    assert waits not in text_of(engineer, INBOX)


def test_a_mapping_that_the_gate_lets_through_asks_nobody(
    rollout: Rollout, engineer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(rollout, 2)
    journal.audited(rollout, mapping_values=63, mapping_reviewed=60)
    counts = ReviewCounts(63, 60, timezone.now(), new=3, recent=2)
    monkeypatch.setattr(mappings, "_counts", lambda *_: {None: counts})
    gates.invalidate()
    text = text_of(engineer, INBOX)
    assert "60 of 63 values reviewed; 3 open: 1 to confirm or map, 2 new may wait" in text
    counts = replace(counts, reviewed=61)
    gates.invalidate()
    assert "Review the mapping before phase 3" not in text_of(engineer, INBOX)
    gates.invalidate()


def test_mismatched_rows_wait_for_an_engineer_until_an_audit_is_clean_or_they_are_waived(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    journal.audited(rollout, "mismatched", mismatched=3)
    newest = journal.audited(rollout, "mismatched", mismatched=2, waived=1)
    waits = f"Repair 1 mismatched row of audit {newest.pk}"
    assert f'<a href="{newest.get_absolute_url()}">{waits}</a>' in text_of(engineer, INBOX)
    assert "Repair 3" not in text_of(engineer, INBOX), "an older audit"
    assert "Nothing waits for you." in text_of(viewer, INBOX)
    journal.audited(rollout, "running")
    assert waits in text_of(engineer, INBOX)
    for status, rows in (("mismatched", 1), ("clean", 0)):
        journal.audited(rollout, status, mode="sampled", mismatched=rows)
        assert waits in text_of(engineer, INBOX), "a sample meets some of the rows, or none"
    type(newest).objects.filter(pk=newest.pk).update(waived=2)
    assert "Nothing waits for you." in text_of(engineer, INBOX)
