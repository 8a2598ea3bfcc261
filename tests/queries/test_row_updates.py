"""Rows that have to follow a decision about their values, as people read of them."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from rollout.models import Repair, Rollout
from tests.console import journal
from tests.console.journal import ran, text_of

INBOX = "/rollout/inbox/"


def test_rows_that_have_to_follow_a_review_wait_for_an_update_while_one_can_write_them(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    for phase in (0, 1):
        ran(rollout, phase)
    backfill = ran(rollout, 2)
    runs = type(backfill).objects.filter(pk=backfill.pk)
    journal.reviewed(rollout, rows_affected=3)
    change = journal.reviewed(rollout)
    leads_to = f'<a href="/rollout/mapping-changes/{change.pk}/correct/">'

    def waits() -> bool:
        return f"{leads_to}Update 12 rows of properties</a>" in text_of(engineer, INBOX)

    assert waits()
    assert "Update 3 rows" not in text_of(engineer, INBOX), "an older review"
    assert "Update" not in text_of(viewer, INBOX)
    runs.update(state="failed")
    failed = f"{leads_to}Update 12 rows of properties, then retry phase 2</a>"
    assert failed in text_of(engineer, INBOX)
    listed = "An engineer or a lead to update 12 rows of properties, then retry phase 2"
    assert f'{change.pk}/correct/">{listed}</a>' in text_of(engineer, "/rollout/")
    runs.update(state="running")
    assert not waits(), "a run is at work"
    runs.update(state="done", created_at=change.at + timedelta(seconds=1))
    assert not waits(), "phase 2 has followed the review"
    runs.update(created_at=backfill.created_at)
    contract = ran(rollout, 4)
    assert not waits(), "the legacy values are archived"
    contract.delete()
    assert waits()
    repair = ran(rollout, 2, "failed", direction="repair")
    Repair.objects.create(run=repair, change=change)
    assert waits(), "the repair has not brought them to follow"
    type(repair).objects.filter(pk=repair.pk).update(state="done")
    assert not waits()
    Repair.objects.all().delete()
    audit = journal.audited(rollout, "mismatched", mismatched=2, started_at=timezone.now())
    assert not waits(), "the audit asks for their repair"
    type(audit).objects.filter(pk=audit.pk).update(mode="sampled")
    assert waits(), "a sample meets some of the rows, or none"
