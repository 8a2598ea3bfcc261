"""Whatever can destroy asks for the password again, whatever headers a browser sends."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.console.http.sessions import CONFIRMED
from rollout.models import LogEntry, PhaseRun, Repair, Rollout, ScheduledStart
from tests.console import journal
from tests.console.http.test_access import SENT, addresses_of, taken_back

ASKS = (
    "{rollout}/phases/4/start/",
    "{rollout}/phases/4/schedule/",
    "{rollout}/phases/4/approval/",
    "{rollout}/phases/1/override/{gate}/",
    "{rollout}/phases/0/roll-back/",
    "{rollout}/blockers/{pid}/",
    "sign-offs/{sign_off}/agree/",
    "snapshots/{snapshot}/restore/",
    "snapshots/{snapshot}/delete/",
    "restores/{restore}/approve/",
    "rehearsals/{rehearsal}/drop/",
    "environments/{environment}/drop/",
    "audits/{audit}/repair/",
    "mapping-changes/{change}/correct/",
)
"""Addresses that do nothing for a session whose password was given a while ago."""
CLAIMS: tuple[dict[str, str], ...] = (
    {},
    journal.HTMX,
    {"HX-Request": "true", "HX-Boosted": "true", "HX-Target": "live"},
    {"X-Requested-With": "XMLHttpRequest"},
    {"X-HTTP-Method-Override": "GET"},
)
"""What a client may say of itself; none of it proves anything."""


@pytest.fixture
def unconfirmed(lead: Client) -> Client:
    """A lead's browser, half an hour after the password was given."""
    session = lead.session
    session[CONFIRMED] = timezone.now().timestamp() - 1800
    session.save()
    return lead


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: " ".join(claim) or "nothing")
def test_no_header_of_a_client_stands_in_for_the_password(
    rollout: Rollout, unconfirmed: Client, claim: dict[str, str]
) -> None:
    for pattern, address in addresses_of(ASKS, rollout).items():
        entries, runs = LogEntry.objects.count(), PhaseRun.objects.count()
        with taken_back(unconfirmed):
            response = unconfirmed.post(address, SENT, headers=claim)
            assert response.status_code == 302, pattern
            assert response["Location"].startswith("/rollout/confirm/"), pattern
            now = (LogEntry.objects.count(), PhaseRun.objects.count())
            assert now == (entries, runs), pattern


def test_a_part_that_polls_is_read_without_the_password(
    rollout: Rollout, unconfirmed: Client
) -> None:
    address = f"{journal.PAGE}phases/4/start/"
    assert unconfirmed.get(address, headers=journal.HTMX).status_code == 200
    assert unconfirmed.get(address)["Location"].startswith("/rollout/confirm/")


GUARDED = ((1, "forward", False), (1, "backward", True), (4, "forward", True), (2, "repair", True))


@pytest.mark.parametrize(("verb", "state"), [("retry", "failed"), ("resume", "paused")])
@pytest.mark.parametrize(("phase", "direction", "asks"), GUARDED)
def test_a_stopped_run_continues_without_the_password_where_it_destroys_nothing(
    rollout: Rollout,
    unconfirmed: Client,
    verb: str,
    state: str,
    phase: int,
    direction: str,
    asks: bool,
) -> None:
    run = journal.ran(rollout, phase, state, direction=direction)
    if direction == "repair":
        Repair.objects.create(run=run, table="properties", selection={})
    response = unconfirmed.post(f"{journal.PAGE}{verb}/", headers=journal.HTMX)
    assert response["Location"].startswith("/rollout/confirm/") == asks
    run.refresh_from_db()
    assert (run.state == state) == asks


def test_a_destructive_phase_is_retried_only_for_the_typed_name(
    rollout: Rollout, lead: Client
) -> None:
    run = journal.ran(rollout, 4, "failed", error="<no> room", advice="Make room.")
    page, form = f"{journal.PAGE}retry/", {"run": str(run.pk), "next": f"{journal.PAGE}phases/4/"}
    link = f'href="{page}?run={run.pk}"'
    assert link in journal.text_of(lead, f"{journal.PAGE}phases/4/")
    question = journal.text_of(lead, page, run=str(run.pk))
    assert "Retry phase 4?" in question
    assert "&lt;no&gt; room" in question
    for typed in ({}, {"typed": "properties"}):
        refused = lead.post(page, {**form, **typed})
        assert refused.status_code == 422
        assert f"nothing was started. Type {journal.PLAN} to confirm." in refused.content.decode()
        run.refresh_from_db()
        assert run.state == "failed"
    accepted = lead.post(page, {**form, "typed": journal.PLAN})
    assert accepted["Location"] == form["next"]
    run.refresh_from_db()
    assert run.state == "queued"


def test_a_retry_that_destroys_nothing_needs_no_page(rollout: Rollout, lead: Client) -> None:
    journal.ran(rollout, 0, "failed")
    assert f'href="{journal.PAGE}retry/' not in journal.text_of(lead, f"{journal.PAGE}phases/0/")
    assert "Retry phase 0?" in journal.text_of(lead, f"{journal.PAGE}retry/")


def test_a_page_to_retry_says_that_nothing_stopped(rollout: Rollout, lead: Client) -> None:
    assert "Nothing to retry" in journal.text_of(lead, f"{journal.PAGE}retry/")


@pytest.mark.parametrize(("phase", "asks"), [(1, False), (4, True)])
def test_a_destructive_phase_is_scheduled_only_for_the_typed_name(
    rollout: Rollout, lead: Client, phase: int, asks: bool
) -> None:
    page = f"{journal.PAGE}phases/{phase}/schedule/"
    at = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    form = journal.read(phase, at=at)
    refused = lead.post(page, {**form, "typed": "properties"}, follow=True).content.decode()
    assert (f"Not scheduled. Type exactly {journal.PLAN}." in refused) == asks
    assert ScheduledStart.objects.exists() != asks
    lead.post(page, {**form, "typed": journal.PLAN})
    assert ScheduledStart.objects.get().phase == phase


def test_a_phase_that_changed_since_it_was_read_is_not_scheduled(
    rollout: Rollout, lead: Client
) -> None:
    at = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    form = {"at": at, "seen": "0123456789ab"}
    answer = lead.post(f"{journal.PAGE}phases/1/schedule/", form, follow=True).content.decode()
    assert "Phase 1 has changed since you read it (0123456789ab)." in answer
    assert not ScheduledStart.objects.exists()


def test_a_destructive_phase_that_cannot_start_yet_asks_for_the_name_all_the_same(
    rollout: Rollout, lead: Client
) -> None:
    page = f"{journal.PAGE}phases/4/start/"
    assert lead.post(page).status_code == 422
    assert lead.post(page, journal.read(4, typed=journal.PLAN)).status_code == 302
    assert not PhaseRun.objects.exists()
