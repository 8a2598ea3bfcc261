"""What the page of a rollout says of the phase that is due, and which button it leads with."""

from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from rollout.console.current_phases import rehearsal_action
from rollout.models import Repair, Rollout
from rollout.queries.status import status_of
from tests.console import journal
from tests.console.journal import PAGE, rehearsed, taken, text_of


def test_a_rehearsal_is_led_to_from_a_snapshot_as_new_as_the_mapping(rollout: Rollout) -> None:
    def action() -> str:
        return rehearsal_action(status_of(rollout))

    assert action() == "take_snapshot"
    first = taken(rollout, "taking", taken_at=None)
    assert action() == "wait"
    rollout.snapshots.update(state="verified", taken_at=timezone.now())
    assert action() == "rehearse"
    journal.reviewed(rollout, rows_changed=12)
    assert action() == "take_snapshot"
    taken(rollout)
    assert action() == "rehearse"
    rollout.snapshots.update(phases=["done"] * 3 + ["untouched"] * 2)
    assert action() == "take_snapshot", "phases were rolled back since"
    rollout.snapshots.update(phases=[])
    rehearsed(first, "running")
    assert action() == "wait"


def test_a_rehearsal_is_offered_after_the_review_that_could_outdate_it(rollout: Rollout) -> None:
    def offer() -> str:
        status = status_of(rollout)
        page = {"status": status, "rollout": rollout, "then_rehearse": True}
        return render_to_string("rollout/parts/action.html", {**page, "action": "take_snapshot"})

    link = f'<a href="{PAGE}mappings/">Review the mapping first</a>'
    assert link in offer()
    journal.reviewed(rollout)
    assert link in offer(), "the column status is open"
    journal.reviewed(rollout, legacy_column="status")
    assert "Review the mapping" not in offer()


def test_a_phase_that_its_audit_failed_leads_to_the_repair_of_the_rows(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    for phase in (0, 1):
        journal.ran(rollout, phase)
    run = journal.ran(rollout, 2, "failed", error="Audit", advice="Fix the reported problem.")
    audit = journal.audited(rollout, "mismatched", mismatched=3, run=run)
    step = f"Repair 3 mismatched rows of audit {audit.pk}, then retry phase 2."
    button = f'<a class="button button-primary" href="/rollout/audits/{audit.pk}/repair/">'
    for browser, is_offered in ((engineer, True), (viewer, False)):
        text = text_of(browser, PAGE)
        assert step in text
        assert (button in text) == is_offered
        assert "Fix the reported problem." not in text
    repair = journal.ran(rollout, 2, "queued", direction="repair")
    Repair.objects.create(run=repair, report=audit)
    assert f"Repair {repair.pk} updates rows. Once it is done, retry" in text_of(engineer, PAGE)
