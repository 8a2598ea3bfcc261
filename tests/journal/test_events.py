"""Every event has a headline and a kind; what says that it failed is reported as a failure."""

import pytest

from rollout.console.views.rollouts import EVENTS_LEFT_OUT
from rollout.journal.events import Event, Kind, headline_of, kind_of
from rollout.models import RehearsalState, RestoreState, RunState, SnapshotState
from rollout.notifications.kinds import DEFAULT_KINDS, KINDS
from rollout.worker import runs
from rollout.worker.rehearsals import RehearsalJob
from rollout.worker.restores import RestoreJob
from rollout.worker.snapshots import SnapshotJob

# A stranger's statement that a person cancels so that the rollout continues: nothing of it failed.
NO_FAILURE = {Event.BLOCKER_CANCELLED}


@pytest.mark.parametrize("event", list(Event))
def test_event_that_says_failed_or_cancelled_is_reported_as_a_failure(event: Event) -> None:
    words = f"{event.value} {event.headline}".lower().split()
    bad = bool({"failed", "cancelled", "refused"} & set(words)) and "retry" not in words
    bad = bad and "retried" not in words and event not in NO_FAILURE
    assert (event.kind == Kind.FAILED) or not bad
    assert event.headline[0].isupper()
    assert len(event) <= 40, "the journal's column is no longer"


def test_each_bad_end_of_all_kinds_of_work_has_an_event_that_is_reported_as_a_failure() -> None:
    ends = (
        *(runs._FAILED[direction] for direction in runs._FAILED),
        runs._STOPPED[RunState.CANCELLED],
        *(SnapshotJob.ends[s] for s in (SnapshotState.FAILED, SnapshotState.CANCELLED)),
        *(RestoreJob.ends[s] for s in (RestoreState.FAILED, RestoreState.CANCELLED)),
        *(RehearsalJob.ends[s] for s in (RehearsalState.FAILED, RehearsalState.CANCELLED)),
    )
    assert {event.kind for event in ends} == {Kind.FAILED}
    assert Kind.FAILED in DEFAULT_KINDS


def test_audit_is_reported_by_its_result() -> None:
    kinds = {
        status: kind_of("audit done", audit_status=status)
        for status in ("clean", "mismatched", "inconclusive")
    }
    assert kinds == {
        "clean": Kind.OTHER,
        "mismatched": Kind.MISMATCHES,
        "inconclusive": Kind.FAILED,
    }


def test_event_of_another_version_is_shown_as_it_is() -> None:
    assert (headline_of("moon landed"), kind_of("moon landed")) == ("Moon landed", Kind.OTHER)
    assert headline_of("gate overridden") == "Gate overridden"


def test_every_kind_can_be_chosen_but_that_of_tests() -> None:
    assert set(KINDS) == set(Kind) - {Kind.TEST}
    assert set(EVENTS_LEFT_OUT) <= set(Event)
