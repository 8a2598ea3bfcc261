"""A review of a mapping, in the journal: who, what, how many rows; and what it makes stale."""

import pytest

from rollout import runner
from rollout.engine.mapping import Decision
from rollout.models import AuditReport, LogEntry, MappingChange, Rollout, RunState
from rollout.plan import plans
from rollout.plan.translations import Lookup
from rollout.queries.status import status_of
from rollout.runner import Refused
from tests.support import rollouts
from tests.support.rollouts import ADA

SPLIT = {"apt": Decision("Apartment"), "Condominium": Decision("Condo")}


@pytest.fixture
def lookup() -> Lookup:
    translation = plans.get(rollouts.PLAN).translations[0]
    assert isinstance(translation, Lookup)
    return translation


def rows_like(pattern: str) -> int:
    return int(rollouts.ask("SELECT count(*) FROM properties WHERE type ~* %s", pattern))


def audit_gate(rollout: Rollout) -> str:
    gates = status_of(rollout).phases[3].gates
    return next(f"{gate.status}: {gate.message}" for gate in gates if "audit" in gate.name.lower())


def test_a_review_after_the_backfill_is_recorded_corrected_and_audited_again(
    filled: Rollout, lookup: Lookup
) -> None:
    assert audit_gate(filled).startswith("pass")
    affected = rows_like(r"^\s*(apt|condominium)\s*$")
    preview = runner.preview_review(filled, lookup, SPLIT, actor=ADA)
    assert preview.outcome is not None
    assert preview.outcome.rows_affected == affected > 0
    change = runner.review_mapping(filled, lookup, SPLIT, actor=ADA, seen=preview.seen)
    assert (change.reviewer, change.rows_affected) == ("ada", affected)
    assert change.moves_rows
    entry = LogEntry.objects.get(event="mapping reviewed")
    assert f"{affected:,} existing rows to update" in entry.message
    assert audit_gate(filled).startswith("pending: The clean audit")
    assert "older than ada's review of properties.type" in audit_gate(filled)

    run = runner.correct(change, actor=ADA)
    rollouts.work_off(run)
    run.refresh_from_db()
    assert run.repair.rows_repaired == affected
    assert AuditReport.objects.first().status == "clean"  # type: ignore[union-attr]
    assert audit_gate(filled).startswith("pass")
    assert not rollouts.ask(
        "SELECT count(*) FROM properties p JOIN property_types t ON t.id = p.property_type_id"
        " WHERE t.name IN ('Apt', 'Condominium')"
    )


def test_the_rows_of_a_review_after_the_cutover_follow_it_too(
    enforced: Rollout, lookup: Lookup
) -> None:
    change = runner.review_mapping(enforced, lookup, SPLIT, actor=ADA)
    runner.correct(change, actor=ADA)
    rollouts.work()
    report = AuditReport.objects.first()
    assert report is not None
    assert (report.status, report.mismatched) == ("clean", 0)


def test_decisions_before_phase_2_need_no_correction(properties: Rollout, lookup: Lookup) -> None:
    change = runner.review_mapping(properties, lookup, SPLIT, actor=ADA)
    assert (change.rows_affected, change.moves_rows) == (0, False)
    rollouts.carry_out(properties, 0, 1, 2)
    assert not rollouts.ask("SELECT count(*) FROM property_types WHERE name = 'Condominium'")


def test_a_decision_on_changed_values_is_refused(filled: Rollout, lookup: Lookup) -> None:
    seen = runner.preview_review(filled, lookup, SPLIT, actor=ADA).seen
    with rollouts.target() as application:
        application.execute("UPDATE properties SET type = ' ApT ' WHERE type = 'apt'")
    with pytest.raises(Refused, match="Preview the change again"):
        runner.review_mapping(filled, lookup, SPLIT, actor=ADA, seen=seen)
    assert not MappingChange.objects.exists()


def test_pressing_twice_decides_once(filled: Rollout, lookup: Lookup) -> None:
    runner.review_mapping(filled, lookup, SPLIT, actor=ADA)
    with pytest.raises(Refused, match="already has this mapping"):
        runner.review_mapping(filled, lookup, SPLIT, actor=ADA)
    assert MappingChange.objects.count() == 1


def test_nothing_is_decided_while_a_run_is_at_work(filled: Rollout, lookup: Lookup) -> None:
    rollouts.start(filled, 3)
    with pytest.raises(Refused, match="ada's phase 3 is queued"):
        runner.review_mapping(filled, lookup, SPLIT, actor=ADA)


def test_nothing_is_decided_once_the_legacy_text_is_gone(
    contracted: Rollout, lookup: Lookup
) -> None:
    refusal = runner.preview_review(contracted, lookup, SPLIT, actor=ADA).refusal
    assert refusal.startswith("Phase 4 has started")
    with pytest.raises(Refused, match="Phase 4 has started"):
        runner.review_mapping(contracted, lookup, SPLIT, actor=ADA)


def test_a_text_that_the_database_cannot_hold_is_refused(filled: Rollout, lookup: Lookup) -> None:
    with pytest.raises(Refused):
        runner.review_mapping(filled, lookup, {"a\x00b": Decision("x")}, actor=ADA)


def test_a_phase_2_that_a_text_stopped_in_its_audit_continues_once_the_text_is_decided(
    expanded: Rollout, lookup: Lookup
) -> None:
    too_long = "A very " + "long " * 50 + "type"
    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = %s WHERE id IN"
            " (SELECT id FROM properties ORDER BY id LIMIT 2)",
            [too_long],
        )
    run = rollouts.start(expanded, 2)
    rollouts.work_off(run, RunState.FAILED)
    assert "2 " in run.error, run.error
    change = runner.review_mapping(expanded, lookup, {too_long: Decision("House")}, actor=ADA)
    assert (change.newly_mapped, change.rows_affected) == (1, 2)
    correction = runner.correct(change, actor=ADA)
    rollouts.work_off(correction)
    runner.retry(expanded, actor=ADA)
    rollouts.work_off(run)
