"""A repair on the pages of the phase that it stands beside, and on those of its job."""

import pytest
from django.test import Client

from rollout.models import PhaseRun, Repair, Rollout, RunState
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import PAGE, ran, reached, text_of

BESIDE = f"{PAGE}phases/2/"


def a_repair(rollout: Rollout, state: str = "running", **fields: object) -> PhaseRun:
    for phase in range(3):
        ran(rollout, phase)
    run = ran(rollout, 2, state, direction="repair", **fields)
    Repair.objects.create(
        run=run, table="properties", rows_expected=1234, before={"missing": 1200, "wrong": 34}
    )
    return run


@pytest.mark.parametrize("state", [state for state in RunState.values if state != "done"])
def test_a_repair_is_shown_until_it_is_done(rollout: Rollout, lead: Client, state: str) -> None:
    run = a_repair(rollout, state)
    step = reached(run, "repair", "running", waiting_for="rows of a transaction")
    journal.job_of(step, kind="repair")
    for page in (PAGE, BESIDE):
        text = text_of(lead, page)
        assert 'id="repair-heading"' in text
        assert "1,234 rows to repair" in text
        assert "Cancel run" not in text
        assert "new value missing 1,200" in text
        assert "wrong lookup row 34" in text
        assert "Repair of properties: view job" in text
    # The phase itself is as done as before.
    steps = len(plans.get(rollout.plan).phases[2].steps)
    assert f"Phase complete: {steps} of {steps} steps" in text_of(lead, BESIDE)
    assert 'id="repair-heading"' not in text_of(lead, f"{PAGE}phases/1/")
    assert "Rollback started by" not in text_of(lead, PAGE)


def test_the_title_names_the_rows_table_and_column_as_soon_as_they_are_counted(
    rollout: Rollout, lead: Client
) -> None:
    run = a_repair(rollout)
    Repair.objects.update(table="")
    assert "Repair of every table" in text_of(lead, BESIDE)
    cell = {"table": "properties", "column": "property_type_id", "category": "wrong", "rows": 1}
    Repair.objects.filter(run=run).update(rows_expected=1, cells=[cell])
    text = text_of(lead, BESIDE)
    assert "Repair of 1 row of properties, column property_type_id" in text
    assert ">1 row of properties, during phase 2</span>" in text, "the header names no phase"


def test_pages_are_the_phases_again_after_a_repair(rollout: Rollout, lead: Client) -> None:
    a_repair(rollout, "done")
    for page in (PAGE, BESIDE):
        assert 'id="repair-heading"' not in text_of(lead, page)


def test_no_phase_can_be_started_or_rolled_back_during_a_repair(
    rollout: Rollout, lead: Client
) -> None:
    a_repair(rollout)
    text = text_of(lead, BESIDE)
    assert 'id="roll-back"' not in text
    assert 'id="verb-pause-repair"' in text
    assert 'id="verb-cancel-repair"' in text
    text = text_of(lead, "/rollout/")
    assert "Repairing" in text


def test_a_failed_one_says_what_to_do_next_and_is_retried_by_its_own_button(
    rollout: Rollout, lead: Client
) -> None:
    run = a_repair(rollout, "failed", error="no <room>", advice="Make room, then retry.")
    text = text_of(lead, BESIDE)
    assert "no &lt;room&gt;" in text
    assert "Make room, then retry." in text
    assert f'name="run" value="{run.pk}"' in text
    lead.post(f"{PAGE}retry/", {"run": str(run.pk)})
    run.refresh_from_db()
    assert run.state == RunState.QUEUED


def test_the_job_of_a_repair_is_no_backfill(rollout: Rollout, lead: Client) -> None:
    earlier = reached(a_repair(rollout, "done"), "repair")
    journal.ended_job(earlier, kind="repair", updated=3, scanned=10)
    run = ran(rollout, 2, "failed", direction="repair")
    Repair.objects.create(run=run, table="properties")
    job = journal.job_of(reached(run, "repair", "failed"), kind="repair")
    text = text_of(lead, f"/rollout/jobs/{job.pk}/")
    assert "Repair of properties" in text
    assert "Repairs the selected rows in small batches" in text
    assert "Not selected or already correct" in text
    assert "The repair failed." in text
    assert "Previous repairs of this table" in text
    assert "Backfill of" not in text
    history = text.split("Previous repairs of this table")[1]
    assert "Rows scanned" in history
    assert ">3 written</span>" in history, "a repair scans rows that it does not write"


def test_a_repair_is_none_of_the_earlier_jobs_of_a_phase(rollout: Rollout, lead: Client) -> None:
    backfill = reached(ran(rollout, 2), "backfill")
    journal.ended_job(backfill)
    run = a_repair(rollout, "done")
    repaired = journal.ended_job(reached(run, "repair"), kind="repair")
    assert f"/rollout/jobs/{repaired.pk}/" not in text_of(lead, BESIDE)
