"""What a snapshot is restored into: a staging database, or production once another lead agrees."""

from django.test import Client

from rollout.models import Restore, Rollout
from tests.console.journal import PAGE, restored, taken, text_of
from tests.console.views.test_snapshots import HOSTILE, page_of


def test_a_staging_database_is_requested_and_needs_a_verified_snapshot(
    rollout: Rollout, engineer: Client
) -> None:
    address = f"{PAGE}stage/"
    text = engineer.post(address, follow=True).content.decode()
    assert "No verified snapshot of production. Take one first." in text
    snapshot = taken(rollout)
    text = engineer.post(address, follow=True).content.decode()
    assert "Creating a staging database." in text
    assert f'hx-get="{page_of(snapshot)}"' in text
    asked = Restore.objects.get()
    assert asked.environment is not None
    assert (asked.environment.name, asked.rollout.environment) == ("staging", "staging")
    assert (
        "Environment staging already exists"
        in engineer.post(
            address, {"name": "staging", "snapshot": snapshot.pk}, follow=True
        ).content.decode()
    )


def test_production_is_replaced_only_when_another_lead_says_so(
    rollout: Rollout, lead: Client
) -> None:
    snapshot = taken(rollout)
    asked = restored(snapshot, actor_name="lead", reason=HOSTILE)
    text = text_of(lead, page_of(snapshot))
    assert "Requested by lead: a different lead must approve it" in text
    assert "<img" not in text
    assert 'id="approve-restore"' not in text
    Restore.objects.update(actor_name="grace")
    assert "Take one first, so that the restore can be undone." in text_of(lead, page_of(snapshot))
    taken(rollout)
    assert 'id="approve-restore"' in text_of(lead, page_of(snapshot))
    text = lead.post(f"/rollout/restores/{asked.pk}/approve/", follow=True).content.decode()
    assert "Restore approved and started." in text
    asked.refresh_from_db()
    assert (asked.state, asked.approver_name) == ("running", "lead")
    lead.post(f"/rollout/restores/{asked.pk}/cancel/")
    asked.refresh_from_db()
    assert asked.state == "cancelling"


def test_nothing_is_replaced_before_the_box_is_ticked(rollout: Rollout, lead: Client) -> None:
    address = f"{page_of(taken(rollout))}restore/"
    sent = {"into": "production", "reason": "A mistake."}
    text = lead.post(address, sent, follow=True).content.decode()
    assert "Confirm that the current data of production will be replaced: tick the box." in text
    assert lead.post(address, {**sent, "into": "nowhere", "replace": "on"}).status_code == 404
    assert not Restore.objects.exists()
