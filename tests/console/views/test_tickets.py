"""The change ticket of a phase."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from rollout.journal.labels import gate_label
from rollout.models import Rollout, ScheduledStart, SignOff
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, ran, text_of


def test_a_ticket_has_what_an_approver_reads(rollout: Rollout, viewer: Client) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    ticket = f"{PAGE}phases/3/ticket/"
    text = text_of(viewer, ticket)
    plan = plans.get(rollout.plan)
    assert f"<code>{plan.digest_of(3)}</code>" in text
    assert "nobody yet" in text
    assert "not rehearsed" in text
    assert "FOREIGN KEY" in text
    assert "Rollback SQL" in text
    assert gate_label("snapshot verified") in text
    journal.rehearsed(journal.taken(rollout))
    journal.signed(rollout, "request", by="ada")
    journal.signed(rollout, by="alan")
    text = text_of(viewer, ticket)
    assert "<dt>Requested by</dt><dd>ada, " in text
    assert "<dt>Approved by</dt><dd>alan, " in text


def test_a_ticket_names_who_requested_an_approval_that_was_given_and_the_scheduled_start(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    ticket, now = f"{PAGE}phases/3/ticket/", timezone.now()
    journal.signed(rollout, "request", by="ada", withdrawn_at=now, withdrawn_by_name="alan")
    journal.signed(rollout, by="alan")
    assert "<dt>Requested by</dt><dd>ada, " in text_of(viewer, ticket)
    assert "Scheduled start" not in text_of(viewer, ticket)
    ScheduledStart.objects.create(
        rollout=rollout, phase=3, at=now + timedelta(days=1), zone="UTC", actor_name="grace"
    )
    text = text_of(viewer, ticket)
    assert "by grace</dd>" in text.split("<dt>Scheduled start</dt>")[1].split("</div>")[0]
    SignOff.objects.filter(kind="request").update(withdrawn_by_name="ada")
    assert "<dt>Requested by</dt><dd>nobody yet" in text_of(viewer, ticket), "ada took it back"


def test_the_ticket_of_a_phase_that_is_done_names_who_approved_its_start_and_its_gates(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    approval = journal.signed(rollout, by="alan")
    approval.run = ran(rollout, 3)
    approval.save()
    text = text_of(viewer, f"{PAGE}phases/3/ticket/")
    assert "<dt>Approved by</dt><dd>alan, " in text
    assert "Passed before the start: " in text
    assert gate_label("snapshot verified") in text
    assert f'href="{PAGE}phases/3/ticket/"' not in text, "it leads nowhere but to itself"


def test_a_phase_without_approval_says_so(rollout: Rollout, viewer: Client) -> None:
    assert "no approval required" in text_of(viewer, f"{PAGE}phases/1/ticket/")
    assert f'href="{PAGE}phases/1/ticket/"' in text_of(viewer, f"{PAGE}phases/1/")
