"""The state of a rollout in the header of its pages."""

import re

import pytest
from django.test import Client

from rollout.models import PhaseRun, Repair, Rollout
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, text_of
from tests.console.test_headers import tabs_in


def test_a_header_says_what_runs_and_what_waits_and_offers_what_the_reader_may_do(
    rollout: Rollout, lead: Client, engineer: Client, viewer: Client
) -> None:
    for phase in (0, 1):
        journal.ran(rollout, phase)
    page = f"{PAGE}header/?name=audits&page={PAGE}audits/"
    between = fragment_of(lead, page)
    assert "No phase running" in between
    assert "Next: phase 2: Backfill" in between
    snapshot = journal.taken(rollout)
    assert "running</a>" not in between
    beside = journal.rehearsed(snapshot, "running")
    assert (
        f'<a class="small" href="{beside.get_absolute_url()}">Rehearsal {beside.pk} running</a>'
        in (fragment_of(lead, page))
    )
    taking, audit = journal.taken(rollout, "taking"), journal.audited(rollout, "running")
    for text in (fragment_of(lead, page), text_of(lead, PAGE)):
        assert f"Snapshot {taking.pk} running</a>" in text
        assert f"Audit {audit.pk} running</a>" in text
    run = journal.ran(rollout, 2, "running")
    journal.reached(run, "backfill", "running")
    running = fragment_of(lead, page)
    assert 'data-title="Running · phase 2 · production"' in running
    assert "Phase 2: Backfill" in running
    assert "No phase running" not in running
    assert "Phase 2: Backfill, step 5 of " in running
    PhaseRun.objects.filter(pk=run.pk).update(state="queued")
    for text in (fragment_of(lead, page), text_of(lead, PAGE)):
        assert "step 5 of" not in text, "what waits for a worker is in no step"
    PhaseRun.objects.filter(pk=run.pk).update(state="running")
    assert f'name="next" value="{PAGE}audits/"' in running
    assert "<title>Running · phase 2 · production · Audits" in text_of(lead, f"{PAGE}audits/")
    verbs = {
        role: re.findall(r'id="verb-(\w+)-in-header"', fragment_of(browser, page))
        for role, browser in {"lead": lead, "engineer": engineer, "viewer": viewer}.items()
    }
    assert verbs == {"lead": ["pause", "cancel"], "engineer": ["pause"], "viewer": []}

    job = journal.job_of(run.steps.get())
    run.state = "paused"
    run.pause = {"by": "guardrail slow", "rule": "slow", "at": run.created_at.isoformat()}
    run.pause |= {"message": "p95 is 90 ms."}
    run.save(update_fields=["state", "pause"])
    journal.audited(rollout, "mismatched", mismatched=12, waived=2)
    journal.signed(rollout, "request", phase=2)
    paused = fragment_of(lead, page)
    assert 'data-title="Paused · 0 % Backfill · production"' in paused
    assert f"Share of {job.table} that is done" in paused
    assert re.findall(r'id="verb-(\w+)-in-header"', paused) == ["resume", "cancel"]
    assert "by guardrail slow" in paused
    assert "button-primary" not in paused, "nobody is urged to overrule a guardrail"
    tabs = tabs_in(paused)
    assert tabs["Audits 10 mismatches"] == "page"
    assert "Phases 1 waiting for approval" in tabs


def test_a_header_takes_the_progress_that_its_page_has_read(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_reading(job: object) -> None:
        raise AssertionError(f"{job} is read a second time for the header")

    run = journal.ran(rollout, 2, "running")
    job = journal.job_of(journal.reached(run, "backfill", "running"))
    monkeypatch.setattr("rollout.console.rollout_states.progress_of", second_reading)
    for page in (PAGE, f"{PAGE}phases/2/", job.get_absolute_url()):
        assert f"Share of {job.table} that is done" in text_of(viewer, page)
    run.state = "done"
    run.save(update_fields=["state"])
    repair = journal.ran(rollout, 2, "running", direction="repair")
    Repair.objects.create(run=repair, table="properties")
    job = journal.job_of(journal.reached(repair, "repair", "running"))
    assert f"Share of {job.table} that is done" in text_of(viewer, PAGE)
