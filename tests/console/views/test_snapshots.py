"""The pages of snapshots: what they prove, who may press, what is live."""

import pytest
from django.test import Client

from rollout.console.http.fragments import FAST
from rollout.models import Rollout, Snapshot, SnapshotState
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, taken, text_of

LIST = f"{PAGE}snapshots/"
HOSTILE = '"><img src=x onerror=alert(1)>'


def page_of(snapshot: Snapshot) -> str:
    return f"/rollout/snapshots/{snapshot.pk}/"


def test_the_list_says_how_each_stands(rollout: Rollout, viewer: Client) -> None:
    assert "No snapshots yet." in text_of(viewer, LIST)
    snapshot = taken(rollout)
    text = text_of(viewer, LIST)
    assert f"Snapshot {snapshot.pk}" in text
    for shown in ("Verified", "5.4 MB", "Rows, all tables", "50,012", "4.2 s", "grace"):
        assert shown in text


def test_a_page_shows_the_evidence(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, page_of(taken(rollout)))
    assert "Verified: test restore matches the source" in text
    for shown in ("ab" * 32, "50,000", "31 value pairs, verified in the test restore", "18.6"):
        assert shown in text
    assert "30 more pairs not shown" in text


def test_hostile_values_are_shown_as_text(rollout: Rollout, viewer: Client) -> None:
    snapshot = taken(rollout, "failed", error=HOSTILE, advice=HOSTILE, differences=[HOSTILE])
    text = text_of(viewer, page_of(snapshot))
    assert "<img" not in text
    assert "&quot;&gt;&lt;img src=x" in text


def test_a_table_that_differs_comes_first_and_is_named_in_words(
    rollout: Rollout, viewer: Client
) -> None:
    snapshot = taken(
        rollout,
        "failed",
        error="The restored copy is another.",
        restored_counts={"properties": 50_000, "property_types": 11},
    )
    text = text_of(viewer, page_of(snapshot))
    assert "Verification failed: do not restore from this snapshot" in text
    assert "no good snapshot" not in text
    assert "verified in the test restore" not in text
    assert text.index("<code>property_types</code>") < text.index("<code>properties</code>")
    assert "<strong>differs</strong>" in text


def test_a_running_snapshot_shows_its_bytes_and_is_polled_until_it_ends(
    rollout: Rollout, viewer: Client
) -> None:
    snapshot = taken(
        rollout, "taking", activity="Dumping 8 tables.", size=1_300_000, restored_counts={}
    )
    page = page_of(snapshot)
    text = text_of(viewer, page)
    assert "Dumping 8 tables. 1.3 MB so far." in text
    assert ">pending<" in text
    for live in (page, LIST, PAGE):
        assert f'data-live="{FAST}" hx-get="{live}"' in text_of(viewer, live)
    Snapshot.objects.update(state=SnapshotState.VERIFIED)
    assert 'data-live="15"' in fragment_of(viewer, page)


def test_pressing_asks_for_one_and_says_so(rollout: Rollout, engineer: Client) -> None:
    response = engineer.post(LIST, follow=True)
    assert "Taking a snapshot." in response.content.decode()
    snapshot = Snapshot.objects.get()
    assert (snapshot.state, snapshot.actor_name) == (SnapshotState.TAKING, "engineer")
    again = engineer.post(LIST, follow=True).content.decode()
    assert f"engineer&#x27;s snapshot {snapshot.pk} is in progress." in again


@pytest.mark.parametrize("who", ["viewer", "engineer", "lead"])
def test_buttons_are_for_those_who_may_press_them(rollout: Rollout, who: str) -> None:
    snapshot, browser = taken(rollout), journal.browser_of(who)
    may = who != "viewer"
    assert ('id="take-snapshot"' in text_of(browser, LIST)) == may
    assert ('id="take-snapshot"' in text_of(browser, PAGE)) == may
    text = text_of(browser, page_of(snapshot))
    assert ('id="verify-snapshot"' in text) == may
    assert ('id="delete-snapshot"' in text) == may


def test_a_deleted_one_keeps_its_evidence_and_offers_nothing(
    rollout: Rollout, lead: Client
) -> None:
    snapshot = taken(rollout)
    text = lead.post(f"{page_of(snapshot)}delete/", follow=True).content.decode()
    assert "Dump deleted" in text
    assert "ab" * 32 in text
    assert 'id="delete-snapshot"' not in text


def test_verifying_again_is_requested_and_refused_if_there_is_no_dump(
    rollout: Rollout, lead: Client
) -> None:
    snapshot = taken(rollout, "failed", sha256="")
    address = f"{page_of(snapshot)}verify/"
    assert "has no dump to verify." in lead.post(address, follow=True).content.decode()
    Snapshot.objects.update(sha256="ab" * 32)
    assert "Verifying the snapshot." in lead.post(address, follow=True).content.decode()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.TAKEN


def test_a_running_snapshot_is_cancelled_by_a_press(rollout: Rollout, engineer: Client) -> None:
    snapshot = taken(rollout, "taking", restored_counts={})
    text = engineer.post(f"{page_of(snapshot)}cancel/", follow=True).content.decode()
    assert "Snapshot cancelled." in text
    assert ">Cancelling<" in text
    assert 'id="cancel-snapshot"' not in text
    Snapshot.objects.update(state=SnapshotState.CANCELLED, error="It was cancelled.")
    assert ">Cancelled<" in text_of(engineer, page_of(snapshot))


def test_the_gate_has_the_button_that_takes_a_snapshot(rollout: Rollout, lead: Client) -> None:
    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    text = text_of(lead, f"{PAGE}phases/3/start/")
    assert "No verified snapshot. Take one." in text
    assert f'action="{LIST}"' in text


def test_the_list_is_paged(rollout: Rollout, viewer: Client) -> None:
    for _ in range(26):
        taken(rollout)
    assert "Next page" in text_of(viewer, LIST)
