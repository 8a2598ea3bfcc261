"""The checklist of phase 0: what is found out, and what a person answers for."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from rollout import gates
from rollout.gates import Evidence
from rollout.gates.checklists import ItemStatus, _automatic, checklist_of
from rollout.models import PhaseRun, Rollout, RunState
from rollout.plan import BackfillRehearsed, EnvironmentIntrospected, Item, TypesMatch, plans
from rollout.plan.gates import ChecklistComplete
from tests import rollouts
from tests.console import journal
from tests.servers import Database

MINUTE = timedelta(minutes=1)


def items(rollout: Rollout) -> dict[str, ItemStatus]:
    return {one.item.id: one for one in checklist_of(Evidence(rollout, 1))}


def test_the_shipped_checklist_is_complete_once_phase_0_is_done_and_people_ticked(
    committed_db: Database,
) -> None:
    gates.invalidate()
    rollout = rollouts.the_rollout()
    assert items(rollout)["steps-described"].message == "46 steps in 5 phases."
    assert items(rollout)["types-match"].status == "pass", items(rollout)["types-match"]
    assert items(rollout)["flows-tested"].status == "fail"
    rollouts.carry_out(rollout, 0)
    assert items(rollout)["flows-tested"].status == "pass"
    given = gates.check_gate(ChecklistComplete(), Evidence(rollout, 1))
    assert (given.status, given.message[:30]) == ("fail", "2 of 5 items are not done: The")
    rollouts.complete_checklist(rollout)
    assert gates.check_gate(ChecklistComplete(), Evidence(rollout, 1)).status == "pass"


def test_types_that_differ_are_named_by_their_first_line(
    committed_db: Database, tmp_path: Path
) -> None:
    rollout = rollouts.the_rollout()
    file = tmp_path / "types.ts"
    item = TypesMatch(file=str(file))
    gates.invalidate()
    assert _automatic(item, Evidence(rollout, 1))[0] == "unknown"
    file.write_text("// Made by hand\n")
    gates.invalidate()
    status, message = _automatic(item, Evidence(rollout, 1))
    assert status == "fail"
    wanted = "types.ts: It does not have the schema in force, before phase 1. Line 1: expected"
    assert message.startswith(wanted)
    assert message.endswith(f"manage.py rollout types {rollout.plan} --phase 0 > types.ts")


def test_another_environment_is_unknown_where_there_is_none(rollout: Rollout) -> None:
    for item in (
        EnvironmentIntrospected(environment="staging"),
        BackfillRehearsed(environment="staging"),
    ):
        status, message = _automatic(item, Evidence(rollout, 1))
        assert status == "unknown"
        assert "There is no environment “staging”" in message


@pytest.fixture
def staging(rollout: Rollout, settings: object) -> Rollout:
    """A second environment, which is the same database here."""
    found = {"production": "default", "staging": "default"}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": found}  # type: ignore[attr-defined]
    return Rollout.objects.create(plan=rollout.plan, environment="staging")


@pytest.mark.parametrize("item", [BackfillRehearsed(), BackfillRehearsed(environment="staging")])
def test_backfill_elsewhere_counts_with_the_present_plan_only(
    rollout: Rollout, staging: Rollout, item: Item
) -> None:
    def status() -> str:
        return _automatic(item, Evidence(rollout, 1))[0]

    now = timezone.now()
    done = {"phase": 2, "state": RunState.DONE, "actor_name": "ada", "finished_at": now}
    digest = plans.get(rollout.plan).digest
    PhaseRun.objects.create(rollout=rollout, started_at=now - MINUTE, plan_digest=digest, **done)
    assert status() == "fail", "here is not elsewhere"
    PhaseRun.objects.create(rollout=staging, started_at=now, plan_digest=digest, **done)
    assert status() == "fail", "a snapshot brought it along"
    run = PhaseRun.objects.create(
        rollout=staging, started_at=now - MINUTE, plan_digest="another", **done
    )
    assert status() == "fail", "another plan"
    run.plan_digest = digest
    run.save()
    assert status() == "pass"


def test_the_schema_of_another_environment_is_looked_at(rollout: Rollout, staging: Rollout) -> None:
    gates.invalidate()
    status, message = _automatic(
        EnvironmentIntrospected(environment="staging"), Evidence(rollout, 1)
    )
    assert (status, message) == ("pass", "2 tables are as the plan expects before phase 0.")


def test_a_rehearsal_that_passed_has_looked_at_a_staging_schema(rollout: Rollout) -> None:
    def status() -> str:
        return _automatic(EnvironmentIntrospected(), Evidence(rollout, 1))[0]

    assert status() == "fail"
    rehearsal = journal.rehearsed(journal.taken(rollout), "failed")
    assert status() == "fail"
    rehearsal.state = "passed"
    rehearsal.save()
    assert status() == "pass"
    rehearsal.plan_digest = "another"
    rehearsal.save()
    assert status() == "fail"
