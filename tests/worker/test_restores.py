"""A snapshot becomes an environment's data: production's only when another lead agrees."""

from typing import Any

import pytest

from rollout import runner
from rollout.models import (
    Direction,
    LogEntry,
    PhaseRun,
    Restore,
    RestoreState,
    Rollout,
    RunState,
    Snapshot,
)
from rollout.modes import Modes
from rollout.queries.modes import modes_of
from rollout.queries.status import status_of
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN

pytestmark = pytest.mark.usefixtures("clean_storage")


def restore(
    snapshot: Snapshot, into: Rollout, *, replace: bool = False, reason: str = ""
) -> Restore:
    """Ask for it and work until it is done, or waits, or has failed."""
    asked = runner.restore_snapshot(
        snapshot, into, replace=replace, reason=reason, actor=rollouts.person("ada")
    )
    rollouts.work()
    asked.refresh_from_db()
    return asked


def refusal(snapshot: Snapshot, into: Rollout) -> str:
    with pytest.raises(runner.Refused) as refused:
        restore(snapshot, into)
    return str(refused.value)


def rows_of(environment: str) -> Any:
    from rollout.journal.environments import target_of

    with target_of(environment).connect() as connection:
        row = connection.execute(
            "SELECT jsonb_object_agg(p.id, to_jsonb(p) || to_jsonb(t)) FROM properties AS p"
            " LEFT JOIN property_types AS t ON t.id = p.property_type_id"
        ).fetchone()
    return row and row[0]


def test_an_empty_environment_gets_the_data_and_stands_where_the_snapshot_stood(
    filled: Rollout, empty_staging: Rollout
) -> None:
    snapshot = rollouts.snapshot_of(filled)
    before = rows_of("production")
    assert restore(snapshot, empty_staging).state == RestoreState.DONE
    assert rows_of("staging") == before == rows_of("production")
    status = status_of(empty_staging)
    assert [phase.state for phase in status.phases] == [*["done"] * 3, "pending", "pending"]
    assert status.modes == Modes("legacy", "both")
    entry = LogEntry.objects.get(event="snapshot restored")
    assert (entry.environment, entry.actor) == ("staging", "ada")
    assert entry.data["sha256"] == snapshot.sha256


def test_a_restored_rollout_can_be_rolled_back_there_and_run_again(
    filled: Rollout, empty_staging: Rollout
) -> None:
    restore(rollouts.snapshot_of(filled), empty_staging)
    rollouts.carry_back(empty_staging, 2, 1)
    rollouts.carry_out(empty_staging, 1, 2, 3, 4)
    assert modes_of(PLAN, empty_staging.environment).read == "new"
    assert modes_of(PLAN, filled.environment).read == "legacy"


def test_tables_that_are_there_are_replaced_only_when_that_was_said(
    properties: Rollout, empty_staging: Rollout
) -> None:
    snapshot = rollouts.snapshot_of(properties)
    restore(snapshot, empty_staging)
    reason = refusal(snapshot, empty_staging)
    assert "already exist in staging: properties, property_images." in reason
    rollouts.carry_out(empty_staging, 0, 1, 2)
    restore(snapshot, empty_staging, replace=True)
    assert {phase.state for phase in status_of(empty_staging).phases} == {"pending"}
    assert modes_of(PLAN, empty_staging.environment).write == "legacy"
    rollouts.carry_out(empty_staging, 0, 1, 2)


def test_production_is_restored_once_another_lead_approves_and_what_it_holds_is_safe(
    properties: Rollout,
) -> None:
    first = rollouts.snapshot_of(properties)
    before = plain_rows()
    rollouts.execute("GRANT SELECT ON properties TO PUBLIC")
    rollouts.carry_out(properties, 0, 1)
    with pytest.raises(runner.Refused, match="Give a reason for replacing production"):
        restore(first, properties, replace=True)
    asked = restore(first, properties, replace=True, reason="Phase 1 was a mistake.")
    assert asked.state == RestoreState.WAITING
    with pytest.raises(runner.Refused, match="a different lead must approve it"):
        runner.approve_restore(asked, actor=rollouts.person("ada"))
    with pytest.raises(runner.Refused, match="Only a named user may approve a restore"):
        runner.approve_restore(asked, actor=rollouts.Person("root"))
    bob = rollouts.person("bob")
    with pytest.raises(
        runner.Refused, match="no verified snapshot of production from the last hour"
    ):
        runner.approve_restore(asked, actor=bob)
    rollouts.snapshot_of(properties)
    runner.approve_restore(asked, actor=bob)
    with pytest.raises(runner.Refused, match="ada is restoring snapshot"):
        runner.start(properties, 2, actor=ADA)
    rollouts.work()
    asked.refresh_from_db()
    assert (asked.state, asked.error) == (RestoreState.DONE, "")
    assert (asked.approver_name, asked.reason) == ("bob", "Phase 1 was a mistake.")
    assert plain_rows() == before
    assert rollouts.ask("SELECT has_table_privilege('public', 'properties', 'SELECT')"), "is kept"
    assert {phase.state for phase in status_of(properties).phases} == {"pending"}
    rollouts.carry_out(properties, 0, 1)
    events = LogEntry.objects.filter(event__startswith="restore ").order_by("pk")
    assert [(entry.event, entry.actor) for entry in events] == [
        ("restore asked for", "ada"),
        ("restore approved", "bob"),
    ]


def plain_rows() -> Any:
    return rollouts.ask("SELECT jsonb_object_agg(p.id, to_jsonb(p)) FROM properties AS p")


def test_a_dump_that_somebody_changed_is_not_restored(
    properties: Rollout, empty_staging: Rollout
) -> None:
    snapshot = rollouts.snapshot_of(properties)
    Snapshot.objects.update(sha256="0" * 64)
    asked = restore(snapshot, empty_staging)
    assert asked.state == RestoreState.FAILED
    assert "checksum does not match" in asked.error
    assert Restore.objects.get().finished_at is not None


def test_a_snapshot_from_the_middle_of_a_phase_leaves_that_phase_to_be_retried(
    filled: Rollout, empty_staging: Rollout
) -> None:
    PhaseRun.objects.filter(rollout=filled, phase=2).update(state=RunState.FAILED)
    restore(rollouts.snapshot_of(filled), empty_staging)
    run = PhaseRun.objects.get(rollout=empty_staging, phase=2)
    assert (run.direction, run.state) == (Direction.FORWARD, RunState.CANCELLED)
    assert "taken during this phase" in run.error
    run = runner.retry(empty_staging, actor=ADA)
    rollouts.work_off(run)
