"""An address that names what is not there answers 404, and says what is there."""

import pytest
from django.test import Client

from rollout.models import Rollout
from tests.console.journal import PAGE


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (f"{PAGE}phases/5/preflight/", "Phase 5 not found. The plan has phases 0 to 4."),
        (f"{PAGE}mappings/properties/price/", "no lookup of properties.price. Its lookups: prop"),
        (f"{PAGE}schema/?against=nowhere", "Available: production."),
        ("/rollout/snapshots/99/", "Snapshot 99 not found."),
        ("/rollout/rehearsals/99/", "Rehearsal 99 not found."),
    ],
)
def test_a_page_of_what_is_not_there_says_what_is(
    rollout: Rollout, viewer: Client, address: str, answer: str
) -> None:
    response = viewer.get(address)
    assert response.status_code == 404
    assert answer in response.content.decode()


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel-run", "retry"])
def test_a_verb_of_an_unknown_rollout_is_not_found(lead: Client, verb: str) -> None:
    assert lead.post(f"/rollout/no-such/production/{verb}/").status_code == 404


@pytest.mark.parametrize("number", ["0", "x", "9" * 40])
def test_a_run_that_is_not_there_is_not_found(rollout: Rollout, lead: Client, number: str) -> None:
    assert lead.post(f"{PAGE}retry/", {"run": number}).status_code == 404
