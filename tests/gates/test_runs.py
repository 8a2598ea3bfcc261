"""Gates answer from the journal; only a pass lets a phase start."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import gates, runner
from rollout.gates.facts import MAX_AUDITS
from rollout.gates.registry import Status
from rollout.journal.moments import in_words
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    PhaseRun,
    Rehearsal,
    Rollout,
    RunState,
    StepRun,
)
from rollout.plan import plans
from rollout.plan.gates import AuditClean, BackfillComplete, EarlierPhaseDone, Gate, RehearsalPassed
from tests.console import journal
from tests.support import rollouts
from tests.support.rollouts import ADA

NOW = timezone.now()
MINUTE = timedelta(minutes=1)


def phase_run(
    rollout: Rollout,
    phase: int,
    state: RunState = RunState.DONE,
    direction: Direction = Direction.FORWARD,
) -> PhaseRun:
    return rollout.runs.create(
        phase=phase, state=state, direction=direction, actor_name="ada", finished_at=NOW
    )


def step_run(run: PhaseRun, step: str, ended: timedelta) -> StepRun:
    return StepRun.objects.create(
        run=run,
        step=step,
        position=run.steps.count(),
        state="done",
        started_at=NOW + ended - timedelta(seconds=1),
        finished_at=NOW + ended,
    )


def backfilled(rollout: Rollout) -> PhaseRun:
    """Phases 0 to 2 are done; the last step that changes what is written ended just now."""
    phase_run(rollout, 0)
    phase_run(rollout, 1)
    run = phase_run(rollout, 2)
    for name, table, kind, rows in (
        ("backfill-images", "property_images", "compute", 3),
        ("backfill", "properties", "fill", 10),
    ):
        BackfillJob.objects.create(
            step_run=step_run(run, name, timedelta()),
            position=2,
            table=table,
            kind=kind,
            blocks=1,
            estimated_rows=rows,
            stripes=1,
            scanned=rows,
            finished_at=NOW,
        )
    return run


def audit(rollout: Rollout, status: AuditStatus, at: timedelta, **fields: object) -> AuditReport:
    return AuditReport.objects.create(
        rollout=rollout, status=status, started_at=NOW + at, finished_at=NOW + at, **fields
    )


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
    assert "keep legacy columns in sync via triggers”, which changed the write path" in message
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


def test_the_newest_full_audit_is_requested_once_more_only_where_others_came_after_it(
    rollout: Rollout,
) -> None:
    full = journal.audited(rollout)

    def asked() -> list[AuditReport | None]:
        facts = gates.Evidence(rollout, 3).facts
        return [facts.audits[0], facts.full_audit]

    few = journal.queries_of(asked)
    journal.audited(rollout, "running")
    assert asked()[1] == full
    for _ in range(MAX_AUDITS):
        journal.audited(rollout, mode="sample")
    assert asked()[1] == full
    assert journal.queries_of(asked) == few + 1


def test_the_audit_of_a_phase_stays_in_sight_behind_newer_ones(rollout: Rollout) -> None:
    run = phase_run(rollout, 2)
    _, own = [journal.audited(rollout, run=run) for _ in range(2)]
    newer = [journal.audited(rollout, mode="sample") for _ in range(MAX_AUDITS)]
    assert gates.Evidence(rollout, 3).facts.audits == [*reversed(newer), own]
