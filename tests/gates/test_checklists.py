"""The checklist of phase 0: what is found out, and what a person answers for."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from rollout import gates
from rollout.gates import Evidence
from rollout.gates.checklists import ItemStatus, _automatic, checklist_of
from rollout.gates.registry import passed, pending
from rollout.models import PhaseRun, Rollout, RunState
from rollout.plan import BackfillRehearsed, EnvironmentIntrospected, Item, TypesMatch, plans
from rollout.plan.gates import ChecklistComplete
from tests.console import journal
from tests.support import rollouts
from tests.support.servers import Database

MINUTE = timedelta(minutes=1)


def items(rollout: Rollout) -> dict[str, ItemStatus]:
    return {entry.item.id: entry for entry in checklist_of(Evidence(rollout, 1))}


def test_the_shipped_checklist_is_complete_once_phase_0_is_done_and_people_ticked(
    committed_db: Database,
) -> None:
    gates.invalidate()
    rollout = rollouts.the_rollout()
    assert items(rollout)["steps-described"].message == "47 steps in 5 phases."
    assert items(rollout)["types-match"].status == "pass", items(rollout)["types-match"]
    assert items(rollout)["flows-tested"].status == "pending"
    rollouts.carry_out(rollout, 0)
    assert items(rollout)["flows-tested"].status == "pass"
    given = gates.check_gate(ChecklistComplete(), Evidence(rollout, 1))
    assert (given.status, given.message[:18]) == ("pending", "2 of 5 items open:")
    rollouts.complete_checklist(rollout)
    assert gates.check_gate(ChecklistComplete(), Evidence(rollout, 1)).status == "pass"


def test_smoke_tests_older_than_a_rollback_must_be_run_again(rollout: Rollout) -> None:
    def tested() -> tuple[str, str, str | None]:
        item = items(rollout)["flows-tested"]
        return item.status, item.message, item.action

    running = journal.ran(rollout, 0, "running")
    assert tested()[2] == "wait", "the phase runs them"
    assert tested()[1].endswith("Phase 0 runs them.")
    running.delete()
    assert tested()[2] == "start_phase", "phase 0 is due, and will run them"
    assert tested()[1].endswith("Phase 0 runs them.")
    journal.ran(rollout, 0)
    assert tested()[2] == "run_smoke_tests"
    journal.ran(rollout, 1)
    journal.probed(rollout)
    assert tested()[0] == "pass"
    journal.ran(rollout, 1, direction="backward")
    status, message, action = tested()
    assert (status, action) == ("pending", "run_smoke_tests")
    assert "is older than the rollback of phase 1. Run smoke tests." in message
    again = journal.ran(rollout, 0, "running")
    assert tested()[2] == "wait", "phase 0 runs them again"
    assert tested()[1].endswith("is older than the rollback of phase 1. Phase 0 runs them.")
    again.delete()
    back = journal.ran(rollout, 0, direction="backward")
    assert tested()[2] == "start_phase", "all is rolled back: phase 0 comes next"
    assert tested()[1].endswith("is older than the rollback of phase 1. Phase 0 runs them.")
    back.delete()
    journal.probed(rollout)
    assert tested()[0] == "pass"


def test_types_that_differ_are_named_by_their_first_line(
    committed_db: Database, tmp_path: Path
) -> None:
    rollout = rollouts.the_rollout()
    file = tmp_path / "types.ts"
    item = TypesMatch(file=str(file))
    gates.invalidate()
    assert _automatic(item, Evidence(rollout, 1)).status == "unknown"
    file.write_text("// Made by hand\n")
    gates.invalidate()
    result = _automatic(item, Evidence(rollout, 1))
    assert (result.status, result.action) == ("fail", "export_types")
    wanted = "types.ts: Does not match the current schema, before phase 1. Line 1: expected"
    assert result.message.startswith(wanted)
    assert result.message.endswith(f"manage.py rollout types {rollout.plan} --phase 0 > types.ts")


def test_another_environment_is_unknown_if_there_is_none(rollout: Rollout) -> None:
    for item in (
        EnvironmentIntrospected(environment="staging"),
        BackfillRehearsed(environment="staging"),
    ):
        result = _automatic(item, Evidence(rollout, 1))
        assert (result.status, result.action) == ("unknown", "create_environment")
        assert "No environment “staging”" in result.message


@pytest.fixture
def staging_rollout(rollout: Rollout, settings: object) -> Rollout:
    """A second environment, which is the same database here."""
    environments = {"production": "default", "staging": "default"}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": environments}  # type: ignore[attr-defined]
    return Rollout.objects.create(plan=rollout.plan, environment="staging")


@pytest.mark.parametrize("item", [BackfillRehearsed(), BackfillRehearsed(environment="staging")])
def test_backfill_elsewhere_counts_with_the_present_plan_only(
    rollout: Rollout, staging_rollout: Rollout, item: Item
) -> None:
    def status() -> str:
        return _automatic(item, Evidence(rollout, 1)).status

    now = timezone.now()
    done = {"phase": 2, "state": RunState.DONE, "actor_name": "ada", "finished_at": now}
    digest = plans.get(rollout.plan).digest
    PhaseRun.objects.create(rollout=rollout, started_at=now - MINUTE, plan_digest=digest, **done)
    assert status() == "pending", "here is not elsewhere"
    PhaseRun.objects.create(rollout=staging_rollout, started_at=now, plan_digest=digest, **done)
    assert status() == "pending", "a snapshot brought it along"
    run = PhaseRun.objects.create(
        rollout=staging_rollout, started_at=now - MINUTE, plan_digest="another", **done
    )
    assert status() == "pending", "another plan"
    run.plan_digest = digest
    run.save()
    assert status() == "pass"


def test_the_schema_of_another_environment_is_looked_at(
    rollout: Rollout, staging_rollout: Rollout
) -> None:
    gates.invalidate()
    result = _automatic(EnvironmentIntrospected(environment="staging"), Evidence(rollout, 1))
    assert result == passed("2 tables match the plan before phase 0.")


def test_a_rehearsal_that_began_after_the_backfill_says_so(rollout: Rollout) -> None:
    snapshot = journal.taken(rollout, phases=["done"] * 3 + ["untouched"] * 2)
    rehearsal = journal.rehearsed(snapshot, first_phase=3)
    result = _automatic(BackfillRehearsed(), Evidence(rollout, 1))
    began = f"Rehearsal {rehearsal.pk} passed, but ran no backfill: it began at phase 3."
    assert result == pending("take_snapshot", f"{began} Take a snapshot, then rehearse again.")
    journal.taken(rollout, phases=["done"] + ["untouched"] * 4)
    result = _automatic(BackfillRehearsed(), Evidence(rollout, 1))
    assert result == pending("rehearse", f"{began} Rehearse again.")


def test_a_rehearsal_that_passed_has_looked_at_a_staging_schema(rollout: Rollout) -> None:
    def status() -> str:
        return _automatic(EnvironmentIntrospected(), Evidence(rollout, 1)).status

    assert status() == "pending"
    rehearsal = journal.rehearsed(journal.taken(rollout), "running")
    running = pending(
        "wait",
        f"Rehearsal {rehearsal.pk} is running: 2 of 10 runs complete. Wait until it has finished.",
        progress=0.2,
    )
    for item in (EnvironmentIntrospected(), BackfillRehearsed()):
        assert _automatic(item, Evidence(rollout, 1)) == running
    plan = replace(plans.get(rollout.plan), checklist=(EnvironmentIntrospected(),))
    whole = gates.check_gate(ChecklistComplete(), Evidence(rollout, 1, plan=plan))
    assert (whole.action, whole.progress) == ("wait", 0.2)
    assert whole.message.endswith(running.message), "nobody has anything to complete"
    rehearsal.state, rehearsal.finished_at = "failed", timezone.now()
    rehearsal.save()
    assert status() == "pending"
    rehearsal.state = "passed"
    rehearsal.save()
    assert status() == "pass"
    rehearsal.plan_digest = "another"
    rehearsal.save()
    assert status() == "pending"
