"""A migration that stands for a phase asks the journal first, and then the catalog."""

from typing import Any

import pytest
from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.state import ProjectState

from rollout.models import Rollout, RunState
from rollout.operations import RolloutPhase
from tests.engine.test_every_phase import schema_lines
from tests.support import rollouts
from tests.support.servers import Database

STATE = ProjectState.from_apps(apps)


def migrate(phase: int, *, after: int = 0, back: bool = False, plan: str = rollouts.PLAN) -> None:
    operation = RolloutPhase(plan, phase, after)
    with connection.schema_editor(atomic=False) as editor:
        migrate_to = operation.database_backwards if back else operation.database_forwards
        migrate_to("properties", editor, STATE, STATE)


def test_a_phase_that_is_done_changes_nothing_and_one_that_is_not_is_refused_with_what_to_do(
    filled: Rollout, committed_db: Database
) -> None:
    schema = schema_lines(committed_db.url)
    for phase in (1, 2):
        migrate(phase)
    with pytest.raises(CommandError, match=r"Phase 3 of .* properties has rows. Start it first"):
        migrate(3, after=2)
    migrate(3, after=2, back=True)
    with pytest.raises(CommandError, match=r"Phase 2 of .* Roll it back first: .* rollback .* 2"):
        migrate(2, after=1, back=True)
    rollouts.carry_back(filled, 2)
    with pytest.raises(CommandError, match=r"Phase 2 of .* is not done"):
        migrate(2, after=1)
    assert schema_lines(committed_db.url) != schema, "the triggers are gone"


def test_a_phase_that_stopped_half_way_is_neither_repeated_nor_undone(filled: Rollout) -> None:
    filled.runs.filter(phase=2).update(state=RunState.FAILED)
    for back in (False, True):
        with pytest.raises(CommandError, match=r"neither done nor rolled back. Finish it"):
            migrate(2, after=1, back=back)


def test_a_database_that_the_journal_does_not_know_answers_by_its_catalog(
    enforced: Rollout, committed_db: Database
) -> None:
    enforced.runs.all().delete()
    schema = schema_lines(committed_db.url)
    for phase in (1, 2, 3):
        migrate(phase)
    with pytest.raises(CommandError, match=r"Phase 4 of .* is not done .* has rows"):
        migrate(4, after=3)
    with pytest.raises(CommandError, match=r"Phase 3 of .* is in this database, and .* has rows"):
        migrate(3, after=2, back=True)
    rollouts.execute("DROP INDEX properties_type_status_idx")
    migrate(3)
    assert len(schema) == len(schema_lines(committed_db.url)) + 1, "nothing but the index is gone"


def test_a_plan_that_is_not_there_and_a_table_that_is_not_made_yet_are_named(
    bare: Rollout,
) -> None:
    with pytest.raises(CommandError, match=r"no plan 'another'.*keep 'rollout' in INSTALLED_APPS"):
        migrate(1, plan="another")
    rollouts.execute("DROP TABLE property_images, properties CASCADE")
    with pytest.raises(CommandError, match=r"Table properties of the plan .* must be a dependency"):
        migrate(1)


def test_the_operation_is_written_with_what_it_needs_and_no_more() -> None:
    name, _, kwargs = RolloutPhase("order-states", 3, 1).deconstruct()
    assert (name, kwargs) == ("RolloutPhase", {"plan": "order-states", "phase": 3, "after": 1})
    assert RolloutPhase("order-states", 1).deconstruct()[2] == {"plan": "order-states", "phase": 1}
    made: Any = RolloutPhase(**kwargs)
    assert made.describe() == "Phase 3 of the rollout order-states"
