"""Whatever can destroy asks for the password again, whatever headers a browser sends."""

import pytest
from django.test import Client
from django.utils import timezone

from rollout.console.sessions import CONFIRMED
from rollout.models import LogEntry, PhaseRun, Rollout
from tests.console import journal
from tests.console.test_access import SENT, address_of

ASKS = (
    "{rollout}/phases/4/start/",
    "{rollout}/phases/4/approval/",
    "{rollout}/phases/1/override/{gate}/",
    "{rollout}/phases/0/roll-back/",
    "{rollout}/blockers/{pid}/",
    "sign-offs/{sign_off}/agree/",
    "snapshots/{snapshot}/restore/",
    "restores/{restore}/approve/",
)
"""Addresses that carry out nothing for a session whose password was given a while ago."""
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
@pytest.mark.parametrize("pattern", ASKS)
def test_no_header_of_a_client_stands_in_for_the_password(
    rollout: Rollout, unconfirmed: Client, pattern: str, claim: dict[str, str]
) -> None:
    address = address_of(pattern, rollout)
    entries, runs = LogEntry.objects.count(), PhaseRun.objects.count()
    response = unconfirmed.post(address, SENT, headers=claim)
    assert response.status_code == 302
    assert response["Location"].startswith("/rollout/confirm/")
    assert (LogEntry.objects.count(), PhaseRun.objects.count()) == (entries, runs)


def test_a_part_that_polls_is_read_without_the_password(
    rollout: Rollout, unconfirmed: Client
) -> None:
    address = address_of("{rollout}/phases/4/start/", rollout)
    assert unconfirmed.get(address, headers=journal.HTMX).status_code == 200
    assert unconfirmed.get(address)["Location"].startswith("/rollout/confirm/")
