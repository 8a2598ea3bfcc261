"""The list of rollouts: where each stands, and who or what it waits for."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from rollout import gates
from rollout.console import overviews
from rollout.console.overviews import MAX_CHECKED
from rollout.engine.mapping import ReviewCounts
from rollout.gates import GateStatus, mappings
from rollout.journal.labels import gate_label
from rollout.models import PhaseRun, Rehearsal, Rollout
from rollout.plan import plans
from tests.console import journal
from tests.console.journal import ran, reached, text_of


def test_the_overview_says_where_each_rollout_stands(rollout: Rollout, viewer: Client) -> None:
    ran(rollout, 0)
    ran(rollout, 1, "failed", error="no", advice="Retry.")
    journal.noted(rollout, "phase failed", phase=1)
    text = text_of(viewer, "/rollout/")
    assert "Property classification" in text
    row = text.split("<tbody>")[1]
    assert "1 Expand" in row
    assert "Failed" in row
    assert "Action needed" in row
    assert "A lead to retry or roll back phase 1" in row
    assert "Phase failed, phase 1" in row
    assert "grace, " in row


def test_the_overview_asks_for_no_review_before_phase_3_once_phase_2_is_rolled_back(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(plans.get(rollout.plan).lookups, ReviewCounts(63, 60, timezone.now()))
    monkeypatch.setattr(mappings, "_counts", lambda *_: counts)
    gates.invalidate()
    for phase in (0, 1, 2):
        ran(rollout, phase)
    journal.audited(rollout, mapping_values=63, mapping_reviewed=60)
    review = "An engineer or a lead to review the mapping before phase 3"
    assert review in text_of(viewer, "/rollout/")
    for phase, direction in ((3, "forward"), (3, "backward")):
        ran(rollout, phase, direction=direction)
    assert review in text_of(viewer, "/rollout/")
    ran(rollout, 2, direction="backward")
    text = text_of(viewer, "/rollout/")
    assert review not in text
    assert re.search("Gate “.+ before phase 2<", text)
    gates.invalidate()


def test_the_overview_says_who_or_what_each_rollout_waits_for(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits() -> str:
        cell = text_of(viewer, "/rollout/").split('<td class="wrap">')[1].split("</td>")[0]
        return re.sub("<[^>]+>", "", cell)

    assert waits() == "A lead to start phase 0"
    run = ran(rollout, 0, "paused")
    assert waits() == "An engineer or a lead to resume phase 0"
    PhaseRun.objects.filter(pk=run.pk).update(state="running")
    assert waits() == "Nothing"
    reached(run, "compare-schema", "running", waiting_for="a lock on properties")
    assert waits() == "A lock on properties."
    PhaseRun.objects.filter(pk=run.pk).update(state="done")
    assert waits() == f"Gate “{gate_label('checklist complete')}” before phase 1"
    with monkeypatch.context() as patch:
        patch.setattr(overviews, "MAX_CHECKED", 0)
        assert waits() == "A lead to start phase 1 once its gates have passed"
    rehearsal = journal.rehearsed(journal.taken(rollout), "running")
    assert waits() == f"Rehearsal {rehearsal.pk} to finish"
    Rehearsal.objects.update(state="passed")
    for phase in (1, 2):
        ran(rollout, phase)
    assert re.fullmatch("Gate “.+” and [0-9]+ more gates before phase 3", waits())
    with monkeypatch.context() as patch:
        passed = [GateStatus("audit clean", "pass", "Clean.")]
        patch.setattr(overviews, "check_gates", lambda evidence: passed)
        assert waits() == "A lead to start phase 3"
    journal.signed(rollout, "request", phase=3)
    assert waits() == "Approval of phase 3, requested by grace"
    for phase in (3, 4):
        ran(rollout, phase)
    assert waits() == "Nothing"


def test_many_rollouts_can_be_filtered_and_take_no_more_queries_than_a_few(
    rollout: Rollout, lead: Client, settings: Any
) -> None:
    def opened(environments: int, **query: str) -> tuple[str, int]:
        there = {f"copy-{n}": "default" for n in range(environments - 1)}
        settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": {"production": "default", **there}}
        text_of(lead, "/rollout/")  # Creates those that are new.
        queries = journal.queries_of(lambda: text_of(lead, "/rollout/", **query))
        return text_of(lead, "/rollout/", **query), queries

    few, of_few = opened(MAX_CHECKED + 1)
    many, of_many = opened(12)
    assert of_many == of_few
    assert 'role="search"' not in few
    assert 'role="search"' in many
    assert many.count('<th scope="row">') == 12 * len(list(plans))
    filtered, _ = opened(12, title="CLASSIFICATION", environment="copy-3", state="idle")
    assert filtered.count('<th scope="row">') == 1
    assert "No rollout matches." in opened(12, state="complete")[0]
