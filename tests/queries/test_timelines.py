"""What the timeline reads of the journal, and how much of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.models import Repair, Rollout
from rollout.queries import timelines
from rollout.queries.timelines import LANES, history_of
from tests.console import journal


def test_each_event_stands_in_one_lane() -> None:
    events = [event for of_lane in LANES.values() for event in of_lane]
    assert len(events) == len(set(events))


def test_runs_and_acts_come_in_order_with_who_and_what(rollout: Rollout) -> None:
    journal.ran(rollout, 0)
    journal.ran(rollout, 1, "running")
    journal.noted(rollout, "approved", actor="ada")
    journal.noted(rollout, "paused by rule", actor="guardrail slow")
    journal.noted(rollout, "step done", actor="worker")
    journal.noted(rollout, "audit done", data={"report": 7, "status": "mismatched"})
    history = history_of(rollout, timezone.now())
    assert [run.phase for run in history.runs] == [0, 1]
    assert [(m.lane, m.headline, m.actor, m.is_bad) for m in history.moments] == [
        ("People", "Approved", "ada", False),
        ("Guardrails", "Paused by a guardrail", "guardrail slow", False),
        ("Checks", "Audit mismatched", "grace", True),
    ]
    assert history.moments[-1].about == ("audit", 7)
    assert history.is_whole


def test_a_rehearsal_leads_to_its_page_and_not_to_its_snapshot(rollout: Rollout) -> None:
    journal.noted(rollout, "rehearsal passed", data={"rehearsal": 3, "snapshot": 9})
    (moment,) = history_of(rollout, timezone.now()).moments
    assert moment.about == ("rehearsal", 3)


def test_entries_after_the_moment_are_left_to_the_next(rollout: Rollout) -> None:
    journal.noted(rollout, "approved")
    assert not history_of(rollout, timezone.now() - timedelta(minutes=1)).moments


def titles_of(rollout: Rollout) -> list[str]:
    return [run.title for run in history_of(rollout, timezone.now()).runs]


def test_a_long_log_shows_its_newest_part_in_three_queries(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "MAX_RUNS", 2)
    monkeypatch.setattr(timelines, "MAX_MOMENTS", 3)
    for number in range(5):
        journal.ran(rollout, 0)
        journal.noted(rollout, "approved", actor=f"lead {number}")
        Repair.objects.create(run=journal.ran(rollout, 2, direction="repair"))
    assert journal.queries_of(lambda: titles_of(rollout)) == 3
    history = history_of(rollout, timezone.now())
    assert not history.is_whole
    assert len(history.runs) == 2
    assert [moment.actor for moment in history.moments] == ["lead 2", "lead 3", "lead 4"]
