"""The project's own migrations that meet a plan's columns are reported before they are applied."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from rollout import runner
from rollout.checks.migrations import check_migrations
from rollout.engine.preflight import Item
from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.migrations import item_of
from rollout.queries.preflights import preflight_of, readiness_of
from tests.support import rollouts

Migrate = Callable[..., None]
"""``project(operations, …)``: what the project has after 0001, in SQL's order; see the fixture."""

HEAD = "from django.db import migrations as m, models\n"
FIRST = """
from importlib import import_module
Migration = import_module("properties.migrations.0001_initial").Migration
"""
ANOTHER = "('properties', '0001_initial')"

STATUS = "model_name='legacyproperty', name='status'"
REMOVED = f"m.RemoveField({STATUS})"
BREAKING = {
    REMOVED: "drops properties.status",
    "m.RenameField('legacyproperty', 'status', 'state')": "renames properties.status",
    f"m.AlterField({STATUS}, field=models.CharField(max_length=9))": "alters properties.status",
    f"m.AlterField({STATUS}, field=models.TextField(null=True, db_column='state'))": (
        "renames properties.status"
    ),
    "m.AddField('legacyproperty', 'property_status', models.ForeignKey("
    "'properties.propertystatus', models.CASCADE, null=True))": (
        "makes properties.property_status_id"
    ),
    "m.AlterModelTable('legacyproperty', 'listings')": "renames properties",
    "m.DeleteModel('legacyproperty')": "drops properties",
    "m.CreateModel('Kind', [('id', models.AutoField(primary_key=True))],"
    " options={'db_table': 'property_types'})": "makes property_types",
    f"m.SeparateDatabaseAndState([{REMOVED}], [])": "drops properties.status",
}
GUESSED = {
    'm.RunSQL(\'ALTER TABLE "properties" DROP COLUMN "status"\')': "change properties.status",
    "m.RunSQL([('alter table Properties rename Status to state', None)])": (
        "change properties.status"
    ),
    "m.RunSQL('DROP TABLE property_statuses')": "change property_statuses",
    "m.AlterField('legacyproperty', 'city', models.CharField(max_length=90))": (
        "alters properties.city"
    ),
}
HARMLESS = (
    f"m.SeparateDatabaseAndState([], [{REMOVED}])",
    f"m.AlterField({STATUS}, field=models.TextField(null=True, blank=False, default='x'))",
    "m.AddField('legacyproperty', 'floors', models.IntegerField(null=True))",
    "m.RemoveField('property', 'is_listed')",
    "m.RunSQL('UPDATE properties SET status = NULL; ALTER TABLE other DROP COLUMN status')",
    "m.RunSQL('-- drop status of properties\\nCREATE INDEX later ON properties (status)')",
    "m.RunPython(m.RunPython.noop)",
    "m.RenameModel('LegacyProperty', 'Listing')",
)


@pytest.fixture
def project(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Migrate:
    """Give the example application other migrations: ``project(*, squashing=…)``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(*operations: str, first: str = FIRST, more: str = "") -> None:
        package = tmp_path / f"migrations_of_{uuid4().hex}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "0001_initial.py").write_text(first)
        (package / "0002_next.py").write_text(
            f"{HEAD}class Migration(m.Migration):\n"
            f"    dependencies = [{ANOTHER}]\n    operations = [{', '.join(operations)}]\n"
            f"    {more}\n"
        )
        settings.MIGRATION_MODULES = {"properties": package.name}

    return write


def checked() -> set[str | None]:
    """The ids of what `manage.py check --database default` says of migrations."""
    return {message.id for message in check_migrations(databases=["default"])}


def item(rollout: Rollout, phase: int) -> Item:
    (finding,) = (
        i for i in preflight_of(rollout, phase).items if i.name == "migrations of the project"
    )
    return finding


def test_a_migration_that_is_not_applied_and_meets_the_plan_is_told_of_and_no_other(
    filled: Rollout, project: Migrate
) -> None:
    plan = plans.get(filled.plan)
    assert item_of(plan, "production", 3).level == "pass"
    for level, id_, operations in (
        ("blocks", "rollout.E070", BREAKING),
        ("warns", "rollout.W071", GUESSED),
    ):
        for operation, what in operations.items():
            project(operation)
            finding = item_of(plan, "production", 3)
            assert finding.level == level, operation
            assert checked() == {id_}, operation
            assert "properties.0002_next is not applied yet, and" in finding.evidence
            assert f"{what}." in finding.evidence, operation
            assert "SeparateDatabaseAndState" in finding.advice
    project(*HARMLESS)
    assert checked() == set()
    assert item(filled, 3).evidence == "No migration touches the plan's columns."
    project("m.AddField('nothing', 'floors', models.IntegerField(null=True))")
    assert "properties.0002_next fails: KeyError" in item(filled, 3).evidence


def test_migrate_is_refused_before_it_takes_the_legacy_column_and_told_of_if_it_is_forced(
    filled: Rollout, project: Migrate
) -> None:
    project(REMOVED)
    with pytest.raises(SystemCheckError, match=r"rollout.E070\) .* drops properties.status\."):
        call_command("migrate", skip_checks=False, verbosity=0)
    with pytest.raises(runner.Refused, match="“migrations of the project”: Migration"):
        rollouts.start(filled, 3)
    assert rollouts.ask("SELECT count(status) > 0 FROM properties")

    call_command("migrate", skip_checks=True, verbosity=0)
    finding = item(filled, 3)
    assert finding.level == "warns"
    assert "after phase 1 started, and drops properties.status." in finding.evidence
    assert "on the Schema page" in finding.advice
    assert finding in readiness_of(filled).items


def test_before_phase_1_a_migration_may_come_first_and_one_that_did_is_no_alarm(
    properties: Rollout, project: Migrate
) -> None:
    project(f"m.AlterField({STATUS}, field=models.TextField(null=True, db_index=True))")
    finding = item(properties, 0)
    assert (finding.level, finding.phase) == ("blocks", 0)
    assert checked() == {"rollout.W071"}, "nothing of the plan's is there to be broken yet"
    assert "Or apply it before phase 1" in finding.advice
    call_command("migrate", skip_checks=False, verbosity=0)
    assert item(properties, 0).level == "pass"
    rollouts.carry_out(properties, 0, 1)
    assert item(properties, 2).level == "pass"


def test_a_squashed_migration_is_as_old_as_those_it_replaces(
    filled: Rollout, project: Migrate
) -> None:
    project(
        REMOVED.replace("status", "type"),
        "m.AddField('legacyproperty', 'type', models.TextField(null=True))",
        more="replaces = [('properties', '0002_a'), ('properties', '0003_b')]",
    )
    assert item(filled, 3).level == "blocks"
    recorder = MigrationRecorder(connection)
    for name in ("0002_a", "0003_b", "0002_next"):
        recorder.record_applied("properties", name)
    recorder.migration_qs.filter(name__in=("0002_a", "0003_b")).update(applied="2020-01-01T00:00Z")
    assert item(filled, 3).level == "pass"


def test_a_database_without_the_tables_and_a_plan_that_is_done_have_nothing_to_lose(
    contracted: Rollout, project: Migrate
) -> None:
    project("m.RemoveField('legacyproperty', 'city')", "m.DeleteModel('legacyproperty')")
    call_command("check", databases=["default"])
    rollouts.carry_back(contracted, 4)
    assert item(contracted, 4).level == "blocks"
    rollouts.execute("DROP TABLE properties CASCADE")
    assert item(contracted, 4).level == "pass"
