"""Gates answer from the journal; only a pass lets a phase start."""

from datetime import timedelta

import pytest

from rollout import gates, runner
from rollout.gates.registry import Status
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    Repair,
    Rollout,
    RunState,
    StepRun,
)
from rollout.plan import plans
from rollout.plan.gates import AuditClean, BackfillComplete, EarlierPhaseDone, Gate
from tests.console import journal
from tests.gates.phases_so_far import MINUTE, NOW, audit, backfilled, phase_run, step_run
from tests.support import rollouts
from tests.support.rollouts import ADA


def answer(gate: Gate, number: int, rollout: Rollout) -> tuple[Status, str]:
    given = gates.check_gate(gate, gates.Evidence(rollout, number))
    return given.status, given.message


def refusal_to_start(rollout: Rollout, phase: int) -> str:
    try:
        runner.start(rollout, phase, actor=ADA)
    except runner.Refused as refusal:
        return str(refusal)
    return ""


def test_the_first_phase_has_no_gate_before_it(rollout: Rollout) -> None:
    assert plans.get(rollout.plan).gates_of(0) == ()


def test_an_earlier_phase_that_is_done_passes_and_says_since_when(rollout: Rollout) -> None:
    phase_run(rollout, 0)
    assert answer(EarlierPhaseDone(), 1, rollout) == (
        "pass",
        f"Phase 0 finished at {NOW:%Y-%m-%d %H:%M:%S} UTC.",
    )


def test_an_earlier_phase_that_was_never_begun_is_pending(rollout: Rollout) -> None:
    assert answer(EarlierPhaseDone(), 1, rollout) == (
        "pending",
        "Phase 0 must run first.",
    )


def test_an_earlier_phase_that_was_rolled_back_is_pending(rollout: Rollout) -> None:
    phase_run(rollout, 0)
    phase_run(rollout, 0, direction=Direction.BACKWARD)
    assert answer(EarlierPhaseDone(), 1, rollout)[0] == "pending"


@pytest.mark.parametrize("state", RunState)
def test_a_repair_leaves_the_phase_beside_it_as_it_stands(
    rollout: Rollout, state: RunState
) -> None:
    phase_run(rollout, 0)
    phase_run(rollout, 0, state, Direction.REPAIR)
    assert answer(EarlierPhaseDone(), 1, rollout)[0] == "pass"


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD])
@pytest.mark.parametrize("state", [s for s in RunState if s != RunState.DONE])
def test_an_earlier_phase_in_any_other_state_never_passes(
    rollout: Rollout, state: RunState, direction: Direction
) -> None:
    phase_run(rollout, 0)
    phase_run(rollout, 0, state, direction)
    status, message = answer(EarlierPhaseDone(), 1, rollout)
    assert status == ("fail" if state == RunState.FAILED else "pending")
    assert state.label.lower() in message


def test_a_backfill_passes_with_the_rows_it_scanned(rollout: Rollout) -> None:
    backfilled(rollout)
    assert answer(BackfillComplete(), 3, rollout) == (
        "pass",
        "Backfill complete: 13 rows scanned, the final sweep found none that is not filled.",
    )


def test_a_backfill_that_was_rolled_back_is_pending(rollout: Rollout) -> None:
    backfilled(rollout)
    phase_run(rollout, 2, direction=Direction.BACKWARD)
    assert answer(BackfillComplete(), 3, rollout)[0] == "pending"


@pytest.mark.parametrize(
    "change", [{"finished_at": None}, {"table": "another"}, {"kind": "restore"}]
)
def test_a_backfill_that_the_journal_does_not_show_as_finished_is_unknown(
    rollout: Rollout, change: dict[str, object]
) -> None:
    backfilled(rollout)
    BackfillJob.objects.filter(kind="fill").update(**change)
    assert answer(BackfillComplete(), 3, rollout)[0] == "unknown"
    assert "No finished fill job for properties." in refusal_to_start(rollout, 3)


def test_a_table_whose_columns_a_function_computes_must_be_backfilled_too(
    rollout: Rollout,
) -> None:
    backfilled(rollout)
    BackfillJob.objects.filter(kind="compute").update(finished_at=None)
    assert answer(BackfillComplete(), 3, rollout)[0] == "unknown"
    assert "No finished compute job for property_images." in refusal_to_start(rollout, 3)


def test_a_clean_audit_after_the_last_change_passes(rollout: Rollout) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE, rows=10, matched=10)
    status, message = answer(AuditClean(), 3, rollout)
    assert status == "pass"
    assert message.startswith("Clean: 10 rows compared in audit ")
    assert message.endswith(", 0 mismatches.")
    assert AuditClean.name not in refusal_to_start(rollout, 3)


def test_no_audit_at_all_is_pending_and_never_starts(rollout: Rollout) -> None:
    backfilled(rollout)
    assert answer(AuditClean(), 3, rollout) == ("pending", "No full audit yet. Start one.")
    assert "No full audit yet" in refusal_to_start(rollout, 3)


def test_an_inconclusive_audit_is_unknown_and_never_starts(rollout: Rollout) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    audit(rollout, AuditStatus.INCONCLUSIVE, 2 * MINUTE, message="The database went away.")
    status, message = answer(AuditClean(), 3, rollout)
    assert status == "unknown"
    assert "The database went away. Start another." in message
    assert "inconclusive" in refusal_to_start(rollout, 3)


def test_a_mismatched_audit_fails_and_says_how_many(rollout: Rollout) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.MISMATCHED, MINUTE, mismatched=1234)
    status, message = answer(AuditClean(), 3, rollout)
    assert status == "fail"
    assert "found 1,234 mismatches." in message
    assert "1,234" in refusal_to_start(rollout, 3)
    AuditReport.objects.update(mismatched=1)
    assert "found 1 mismatch." in answer(AuditClean(), 3, rollout)[1]


def test_an_audit_that_is_still_running_does_not_hide_the_one_before_it(rollout: Rollout) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    audit(rollout, AuditStatus.RUNNING, 2 * MINUTE)
    assert answer(AuditClean(), 3, rollout)[0] == "pass"


def test_an_audit_of_another_mode_does_not_count(rollout: Rollout) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE, mode="sample")
    assert answer(AuditClean(), 3, rollout)[0] == "pending"


def test_an_audit_of_another_environment_does_not_count(rollout: Rollout) -> None:
    backfilled(rollout)
    other = Rollout.objects.create(plan=rollout.plan, environment="staging")
    audit(other, AuditStatus.CLEAN, MINUTE)
    assert answer(AuditClean(), 3, rollout)[0] == "pending"


@pytest.mark.parametrize("direction", Direction)
def test_a_clean_audit_is_stale_once_what_is_written_has_changed(
    rollout: Rollout, direction: Direction
) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    step_run(phase_run(rollout, 3, direction=direction), "cut-over", 2 * MINUTE)
    status, message = answer(AuditClean(), 4, rollout)
    assert status == "pending"
    assert "keep legacy columns in sync via triggers”, which changed what writes do" in message
    audit(rollout, AuditStatus.CLEAN, 3 * MINUTE)
    assert answer(AuditClean(), 4, rollout)[0] == "pass"


def test_an_audit_that_began_before_a_change_ended_is_stale(rollout: Rollout) -> None:
    run = backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    step = step_run(run, "write-both", timedelta(seconds=90))
    StepRun.objects.filter(pk=step.pk).update(started_at=NOW + timedelta(seconds=30))
    assert answer(AuditClean(), 3, rollout)[0] == "pending"


def test_a_step_that_changes_no_writes_leaves_an_audit_fresh(rollout: Rollout) -> None:
    run = backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    step_run(run, "probe-search", 2 * MINUTE)
    assert answer(AuditClean(), 3, rollout)[0] == "pass"


def test_every_step_that_changes_what_is_written_says_so() -> None:
    changing = [
        step.id
        for phase in plans.get(rollouts.PLAN).phases
        for step in phase.steps
        if step.changes_write_path
    ]
    assert changing == [
        "map-values",
        "dual-write",
        "watch-images",
        "write-both",
        "backfill",
        "backfill-images",
        "cut-over",
        "freeze-legacy",
        "drop-legacy",
        "stop-watching-images",
    ]


def test_rows_that_have_to_follow_a_review_are_updated_before_a_new_audit(
    rollout: Rollout,
) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.CLEAN, MINUTE)
    change = journal.reviewed(rollout, at=NOW + 2 * MINUTE, rows_affected=1)
    given = gates.check_gate(AuditClean(), gates.Evidence(rollout, 3))
    assert (given.status, given.action) == ("pending", "update_rows")
    assert given.message.endswith("Update 1 row first: an audit follows.")
    run = phase_run(rollout, 2, direction=Direction.REPAIR)
    Repair.objects.create(run=run, change=change)
    given = gates.check_gate(AuditClean(), gates.Evidence(rollout, 3))
    assert (given.status, given.action) == ("pending", "start_audit")


NOTHING = {"changes": [], "rows_changed": 0}


def test_a_mismatched_audit_asks_for_a_new_one_once_people_have_decided_about_its_values(
    rollout: Rollout,
) -> None:
    backfilled(rollout)
    audit(rollout, AuditStatus.MISMATCHED, MINUTE, mismatched=2, categories={"undecided": 2})
    assert answer(AuditClean(), 3, rollout)[0] == "fail"
    journal.reviewed(rollout, at=NOW + 2 * MINUTE, **NOTHING)
    given = gates.check_gate(AuditClean(), gates.Evidence(rollout, 3))
    assert (given.status, given.action) == ("pending", "start_audit")
    since = "found 2 mismatches; people have decided about values since."
    assert given.message.endswith(f"{since} Start a new audit.")
    journal.reviewed(rollout, at=NOW + 3 * MINUTE, rows_affected=1)
    given = gates.check_gate(AuditClean(), gates.Evidence(rollout, 3))
    assert (given.status, given.action) == ("pending", "update_rows")
    assert given.message.endswith(f"{since} Update 1 row first: an audit follows.")
    AuditReport.objects.update(categories={"undecided": 1, "wrong": 1})
    assert answer(AuditClean(), 3, rollout)[0] == "fail"


def test_a_review_makes_an_audit_stale_only_where_some_row_gets_something_else(
    rollout: Rollout,
) -> None:
    backfilled(rollout)
    report = audit(rollout, AuditStatus.CLEAN, MINUTE)
    report.mapping_values, report.mapping_reviewed = 62, 0
    report.save()
    at_its_start = "0 of 62 values reviewed at its start."
    assert answer(AuditClean(), 3, rollout)[1].endswith(at_its_start)
    journal.reviewed(rollout, at=NOW + 2 * MINUTE, **NOTHING)
    status, message = answer(AuditClean(), 3, rollout)
    assert status == "pass"
    assert message.endswith(f"{at_its_start} More has been reviewed since.")
    change = [{"legacy": "n/a", "before": "N/a", "after": None, "rows": None, "moved": True}]
    journal.reviewed(rollout, at=NOW + 3 * MINUTE, changes=change, rows_changed=None)
    status, message = answer(AuditClean(), 3, rollout)
    assert status == "pending"
    assert "grace's review of properties.type, which mapped “n/a” to no value (" in message
