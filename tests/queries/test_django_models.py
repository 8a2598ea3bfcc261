"""The models that are printed for a release make the schema that its phase leaves."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core import checks
from django.db import connection as django_connection
from django.db import models
from django.test.utils import isolate_apps

from rollout import plan as r
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Connection
from rollout.journal.environments import target_of
from rollout.plan import Plan, plans
from rollout.queries import django_models
from rollout.queries.django_models import models_source, phases_with_models
from tests.engine.sample_plans import with_step
from tests.engine.samples import COMPOSITE, LISTED, REQUIRED, TEXTS, UUIDS, Sample
from tests.plan.test_conversions import PRICE
from tests.plan.test_extractions import AGENT
from tests.plan.test_vocabularies import CHECK, ENUM
from tests.plan.test_vocabularies import plan_of as plan_of_words
from tests.schemas import plan_of
from tests.support.rollouts import Cli
from tests.support.servers import Database


@pytest.fixture
def connection(committed_db: Database) -> Iterator[Connection]:
    with target_of("production").connect() as opened:
        yield opened


def classes(source: str) -> dict[str, type[models.Model]]:
    """The models of a source, in the app of the example application."""
    names: dict[str, Any] = {"__name__": "properties.models"}
    exec(compile(source, "models", "exec"), names)  # noqa: S102
    return {
        name: of
        for name, of in names.items()
        if isinstance(of, type) and issubclass(of, models.Model) and not of._meta.abstract
    }


def differences(connection: Connection, plan: Plan, phase: int) -> list[str]:
    """How the tables that Django makes of the printed models differ from the phase's."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {COMPOSITE.schema}".encode())
    with isolate_apps("properties"):
        made = classes(models_source(plan, phase, "default"))
        with django_connection.schema_editor() as editor:
            for model in made.values():
                assert [problem for problem in model.check() if problem.level >= checks.ERROR] == []
                editor.create_model(model)
        live = read(connection, labels_of(plan))
        drifts = compare(plan, phases_done=phase + 1, live=live)
        with django_connection.schema_editor() as editor:
            for model in reversed(made.values()):
                editor.delete_model(model)
    # These are the database's, and no model's affair: triggers, the index of a name's normal form,
    # defaults and checks, of which a comment tells.
    checks_of_plan = {s.name for p in plan.phases for s in p.steps if isinstance(s, r.AddCheck)}
    return [
        str(drift)
        for drift in drifts
        if drift.kind not in ("trigger", "default")
        and not drift.column.endswith("_name_key")
        and drift.column not in checks_of_plan
    ]


@pytest.mark.parametrize("sample", [UUIDS, TEXTS, COMPOSITE, REQUIRED, LISTED], ids=str)
def test_the_printed_models_make_the_schema_of_their_phase(
    sample: Sample, connection: Connection
) -> None:
    assert phases_with_models(sample.plan) == [1, 3, 4]
    for phase in range(5):
        assert differences(connection, sample.plan, phase) == [], phase


def test_an_extracted_table_is_a_model_and_its_key_a_foreign_key(connection: Connection) -> None:
    plan = plan_of(AGENT)
    assert phases_with_models(plan) == [1, 3, 4]
    for phase in range(5):
        # Of the unique index no model tells: it is over a function of the engine's.
        rest = [d for d in differences(connection, plan, phase) if "identity_key" not in d]
        assert rest == [], phase


def test_a_unique_constraint_of_the_plan_is_one_of_the_model_and_a_check_is_named(
    connection: Connection,
) -> None:
    unique = r.AddUnique(
        id="one-of-a-kind", description="A kind once", table=UUIDS.table, columns=("kind_id", "id")
    )
    check = r.AddCheck(
        id="known",
        description="Whether it is open is known",
        table=UUIDS.table,
        name="is_open_known",
        condition="{is_open} IS NOT NULL",
    )
    plan = with_step(with_step(UUIDS.plan, 3, unique), 3, check)
    source = " ".join(models_source(plan, 3, "default").split())
    assert f'fields=["kind_row", "id"], name="{unique.constraint}"' in source
    assert "# The table has the check is_open_known: {is_open} IS NOT NULL" in source
    assert differences(connection, plan, 3) == []


def test_models_of_the_project_keep_their_names_and_the_fields_that_the_plan_reads() -> None:
    (plan,) = plans
    source = models_source(plan, 3, "default")
    assert "class LegacyProperty(models.Model):\n    # Its other fields" in source
    assert "    type = models.TextField(blank=True, null=True)\n" in source
    assert "    property_type = models.ForeignKey(\n        PropertyType,\n" in source
    assert "    is_listed = models.BooleanField()\n" in source, "derived, and required"
    assert "    width = models.IntegerField(null=True, blank=True)\n" in source, "computed"
    assert 'name="properties_type_status_idx"' in source
    with isolate_apps("properties"):
        made = classes(models_source(plan, 4, "default"))
        house: Any = made["PropertyType"](name="House")
        assert (str(house), house.natural_key()) == ("House", ("House",))
    assert "type" not in {field.name for field in made["LegacyProperty"]._meta.fields}
    assert "properties_type_status_idx" not in models_source(plan, 4, "default")


@isolate_apps("properties")
def test_a_lookup_field_has_the_options_and_in_the_end_the_name_of_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Thing(models.Model):
        sort = models.CharField(
            "Kind of thing",
            db_column="kind",
            max_length=24,
            choices=[("house", "House")],
            default="house",
            null=True,
            db_index=True,
        )

        class Meta:
            app_label = "properties"
            db_table = "things"

        def __str__(self) -> str:
            return self.sort or ""

    sample = replace(UUIDS)
    kind = replace(sample.kind, rows={1: {"name": 'the "house"'}, 2: "flat"}, key="integer")
    vars(sample)["kind"] = kind
    plan = sample.plan
    of_table = {UUIDS.table.label: [Thing]}
    monkeypatch.setattr(django_models, "models_of", lambda label, alias: of_table.get(label, []))
    for phase, name in ((3, "kind"), (4, "sort")):
        source = " ".join(models_source(plan, phase, "default", lookup_fields=True).split())
        assert (
            f'{name} = LookupField( "{kind.lookup_table}",'
            """ rows={1: 'the "house"', 2: 'flat'},"""
            f' plan="{plan.name}", key="integer", '
        ) in source, source
        with isolate_apps("properties"):
            made = classes(models_source(plan, phase, "default", lookup_fields=True))
        field: Any = made["Thing"]._meta.get_field(name)
        assert (field.column, field.null) == (kind.column, False)
        assert (field.verbose_name, field.max_length, field.default, field.db_index) == (
            "Kind of thing",
            24,
            "house",
            False,
        )
        assert list(field.choices) == [("house", "House")]
    assert 'db_table = "things"' in source
    monkeypatch.delitem(vars(Thing._meta)["original_attrs"], "db_table")
    for phase in (1, 4):
        source = models_source(plan, phase, "default")
        assert 'db_table = "things"' not in source
        with isolate_apps("properties"):
            assert classes(source)["Thing"]._meta.db_table == "properties_thing"


def test_a_column_that_keeps_its_name_is_one_field_whose_type_changes_with_phase_3() -> None:
    plan = plan_of(replace(PRICE, keeps_name=True))
    assert phases_with_models(plan) == [3]
    sources = [models_source(plan, phase, "default") for phase in range(5)]
    assert all("price_cents" not in source and "price_legacy" not in source for source in sources)
    types = ["TextField"] * 3 + ["BigIntegerField"] * 2
    assert all(f"price = models.{of}(" in s for of, s in zip(types, sources, strict=True))


def test_a_text_that_is_kept_to_its_values_stays_the_field_that_it_was() -> None:
    assert phases_with_models(plan_of_words(ENUM)) == []
    # The CHECK is in the models of its phase.
    assert phases_with_models(plan_of_words(CHECK)) == [3]
    for plan in (plan_of_words(ENUM), plan_of_words(CHECK)):
        for phase in range(5):
            source = models_source(plan, phase, "default")
            assert "state = models.CharField(max_length=20, null=True, blank=True)" in source


@isolate_apps("properties")
def test_a_wide_key_is_another_automatic_field_and_what_refers_to_it_stays_a_foreign_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ticket(models.Model):
        number = models.AutoField(primary_key=True)
        parent = models.ForeignKey("self", models.SET_NULL, null=True)

        class Meta:
            app_label = "properties"
            db_table = "ticket"

        def __str__(self) -> str:
            return str(self.number)

    table = r.Table(
        name="ticket",
        key=("number",),
        columns={"number": r.Column("integer", null=False), "parent_id": r.Column("integer")},
    )
    key = r.WidenKey(table=table, column="number", references=((table, "parent_id"),))
    plan = plan_of(*key.translations)
    of_table = {table.label: [Ticket]}
    monkeypatch.setattr(django_models, "models_of", lambda label, alias: of_table.get(label, []))
    assert phases_with_models(plan) == [3]
    sources = [models_source(plan, phase, "default") for phase in range(5)]
    types = ["AutoField"] * 3 + ["BigAutoField"] * 2
    assert all(f"number = models.{of}(" in s for of, s in zip(types, sources, strict=True))
    assert all("parent = models.ForeignKey(" in source for source in sources)


def test_the_verb_prints_each_release_or_one(cli: Cli) -> None:
    status, every, _ = cli("models", "property-classification")
    assert status == 0
    assert [line for line in every.splitlines() if line.startswith("# After")] == [
        f"# After phase {n}. Made by: manage.py rollout models property-classification --phase {n}"
        for n in (1, 3, 4)
    ]
    status, last, _ = cli("models", "property-classification", "--phase", "4")
    assert status == 0
    assert every.endswith(last)
    assert cli("models", "property-classification", "--phase", "5")[0] == 2
