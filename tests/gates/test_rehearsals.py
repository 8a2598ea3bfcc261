"""The gate about rehearsals: fresh, of this plan, of this phase."""

from datetime import timedelta

from rollout import gates
from rollout.gates.registry import Status
from rollout.journal.moments import in_words
from rollout.models import (
    Rehearsal,
    Rollout,
)
from rollout.plan.gates import Gate, RehearsalPassed
from tests.console import journal
from tests.gates.phases_so_far import MINUTE, NOW

NOTHING = {"changes": [], "rows_changed": 0}


def told_of(rollout: Rollout, gate: Gate, number: int = 3) -> tuple[Status, str]:
    result = gates.check_gate(gate, gates.Evidence(rollout, number))
    return result.status, result.message


def test_a_rehearsal_is_stale_once_somebody_decides_what_some_row_gets(rollout: Rollout) -> None:
    snapshot = journal.taken(rollout, taken_at=NOW)
    rehearsal = journal.rehearsed(snapshot)
    journal.reviewed(rollout, at=NOW - MINUTE)
    assert told_of(rollout, RehearsalPassed())[0] == "pass", "the snapshot has that decision"
    journal.reviewed(rollout, at=NOW + MINUTE, **NOTHING)
    assert told_of(rollout, RehearsalPassed())[0] == "pass", "no row gets anything else"
    several = [
        {"legacy": "Apt\u200b", "before": "Apt", "after": "Apartment", "rows": 12, "moved": True},
        {"legacy": "x" * 300, "before": "X", "after": None, "rows": 1, "moved": True},
    ]
    decided_at = NOW + 2 * MINUTE
    journal.reviewed(rollout, at=decided_at, changes=several, rows_changed=13)
    status, message = told_of(rollout, RehearsalPassed())
    assert status == "pending"
    assert rehearsal.finished_at is not None
    assert message == (
        f"Rehearsal {rehearsal.pk} of {in_words(rehearsal.finished_at)} used a "
        "snapshot that is older than grace's review of properties.type, which mapped “Apt\\u200b” "
        f"to “Apartment” and 1 more value ({decided_at:%Y-%m-%d %H:%M:%S} UTC). Take a snapshot, "
        "then rehearse again."
    )
    journal.rehearsed(journal.taken(rollout, taken_at=NOW + 3 * MINUTE))
    assert told_of(rollout, RehearsalPassed())[0] == "pass"


def test_a_rehearsal_counts_while_it_is_fresh_of_this_plan_and_of_this_phase(
    rollout: Rollout,
) -> None:
    def outcome(number: int = 3) -> tuple[Status, str]:
        result = gates.check_gate(
            RehearsalPassed(timedelta(days=3)), gates.Evidence(rollout, number)
        )
        return result.status, result.message

    assert outcome() == ("pending", "Not rehearsed yet. No verified snapshot. Take one.")
    snapshot = journal.taken(rollout)
    assert outcome() == ("pending", "Not rehearsed yet. Rehearse the plan.")
    rehearsal = journal.rehearsed(snapshot)
    mine = Rehearsal.objects.filter(pk=rehearsal.pk)
    status, message = outcome()
    assert status == "pass"
    assert "50,012 rows verified after phases 0 to 4 and back, 49,900 unchanged and 112" in message
    mine.update(first_phase=4)
    assert "passed, but it began at phase 4. Rehearse again." in outcome()[1]
    rollout.snapshots.update(phases=["done"] * 4 + ["untouched"])
    assert "began at phase 4. Take a snapshot, then rehearse again." in outcome()[1]
    assert outcome(4)[0] == "pass"
    mine.update(first_phase=0, finished_at=NOW - timedelta(days=4))
    assert "is older than the 3 days that the plan allows" in outcome()[1]
    mine.update(finished_at=NOW, plan_digest="another")
    assert "used another version of the plan" in outcome()[1]
    journal.rehearsed(journal.taken(rollout), "failed", error="It broke.")
    assert (outcome()[0], "failed: It broke." in outcome()[1]) == ("fail", True)
    cancelled = journal.rehearsed(journal.taken(rollout), "cancelled")
    assert "failed: It broke." in outcome()[1], "a cancelled one says nothing"
    Rehearsal.objects.filter(pk=cancelled.pk).update(state="running")
    assert outcome() == (
        "pending",
        f"Rehearsal {cancelled.pk} is running: 2 of 10 runs complete. Wait until it has finished.",
    )
