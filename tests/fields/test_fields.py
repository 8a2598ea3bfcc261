"""A model uses a vocabulary as before: once as a text, once as a LookupField over a key."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import FieldError
from django.db import DataError, connection, models, transaction
from django.db.migrations.writer import MigrationWriter
from django.db.models import Q, Value
from django.db.models.functions import Concat
from django.test.utils import isolate_apps

import properties.models
from rollout.fields import LookupField
from rollout.lookups import UnknownLookup
from rollout.models import Rollout
from tests.fields.hosts import OPTIONS, ROWS, TEXTS, Model, model
from tests.fields.uses import USES, by_id, put


@pytest.fixture(scope="module")
def hosts(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Model]]:
    """The same model three times, each with its rows: as a text, by ids in code, by the table."""
    constrained: dict[str, list[Any]] = {
        "indexes": [
            models.Index(fields=["note"], name="host_up", condition=~Q(status="down")),
            models.Index(fields=["status"], name="host_status"),
        ],
        "constraints": [
            models.CheckConstraint(
                condition=Q(status__in=["up", "down"]) | Q(status=None) | ~Q(note="bad"),
                name="host_note",
            ),
            models.UniqueConstraint(
                fields=["note"], name="host_new", condition=Q(status="up") & Q(note="once")
            ),
        ],
    }
    of_rows: dict[str, list[Any]] = {
        o: [c.clone() for c in parts] for o, parts in constrained.items()
    }
    for part in (*of_rows["indexes"], *of_rows["constraints"]):
        part.name += "_rows"
    monkeypatch = pytest.MonkeyPatch()
    known = set(apps.all_models["properties"])
    try:
        made = {
            "text": model("HostText", models.CharField(**OPTIONS), **constrained),
            "rows": model("HostRows", LookupField("host_states", rows=ROWS, **OPTIONS), **of_rows),
            "table": model("HostTable", LookupField("host_states", **OPTIONS)),
        }
        for of in made.values():
            # As pickles find it.
            monkeypatch.setattr(properties.models, of.__name__, of, raising=False)
        with django_db_blocker.unblock():
            with connection.cursor() as cursor:
                cursor.execute(
                    "CREATE TABLE host_states (id bigserial PRIMARY KEY, name text UNIQUE NOT NULL)"
                )
                cursor.executemany(
                    "INSERT INTO host_states (name) VALUES (%s)", [[t] for t in TEXTS]
                )
            with connection.schema_editor() as editor:
                for of in made.values():
                    editor.create_model(of)
            for of in made.values():
                of.objects.bulk_create(
                    of(status=[*TEXTS, None][n % 5], note=f"{n}") for n in range(10)
                )
        yield made
    finally:
        with django_db_blocker.unblock(), connection.schema_editor() as editor:
            for of in made.values():
                editor.delete_model(of)
            editor.execute("DROP TABLE host_states")
        for name in set(apps.all_models["properties"]) - known:
            del apps.all_models["properties"][name]
        apps.clear_cache()
        monkeypatch.undo()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("use", "kind"),
    # The model of the table's rows has no constraints.
    [(use, k) for use in USES for k in ("rows", "table") if k == "rows" or use[:5] != "valid"],
)
def test_a_use_of_a_vocabulary_is_the_same_by_text_and_by_key(
    use: str, kind: str, hosts: dict[str, Model]
) -> None:
    expected = USES[use](hosts["text"])
    assert USES[use](hosts[kind]) == expected
    assert expected or use in ("filter by a text of no row", "in nothing")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["rows", "table"])
def test_a_text_of_no_row_is_refused_in_words(kind: str, hosts: dict[str, Model]) -> None:
    of = hosts[kind]
    before = by_id(of.objects.all())
    row = of.objects.get(pk=1)
    for change in (
        lambda: of.objects.create(status="bogus"),
        lambda: of.objects.bulk_create([of(status="up"), of(status="bogus")]),
        lambda: of.objects.update(status="bogus"),
        lambda: of.objects.update(status=Concat("note", Value("bogus"))),
        lambda: put(row, "bogus"),
    ):
        with (
            pytest.raises(DataError, match=r"host_states has no row named .*bogus"),
            transaction.atomic(),
        ):
            change()
    assert by_id(of.objects.all()) == before


@pytest.mark.django_db
def test_ids_are_compared_and_what_the_code_names_needs_no_look_at_the_table(
    hosts: dict[str, Model],
) -> None:
    by_rows = str(hosts["rows"].objects.filter(status="up", note="").only("pk").query)
    assert '"status_id" = 1' in by_rows
    assert "host_states" not in by_rows
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    paused = hosts["rows"].objects.filter(status__in=["up", "paused"]).order_by()
    assert "host_status_rows" in paused.explain()
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "properties_hostrows")
        cursor.execute(
            "SELECT pg_get_expr(indpred, indrelid) FROM pg_index"
            " WHERE indexrelid = 'host_up_rows'::regclass"
        )
        assert cursor.fetchone() == ("(NOT ((status_id = 2) AND (status_id IS NOT NULL)))",)
    assert constraints["host_note_rows"]["check"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (Q(status="paused"), r"compares .*status with 'paused', whose id is not known. Name it"),
        (~Q(status__in=["up", "paused"]), "with 'paused'"),
        (Q(status__startswith="u"), r"cannot use the text of .*status: write fields="),
    ],
    ids=str,
)
def test_a_condition_needs_ids_that_the_code_knows(
    condition: Q, problem: str, hosts: dict[str, Model]
) -> None:
    with pytest.raises(FieldError, match=problem), connection.schema_editor(collect_sql=True) as to:
        to.add_index(hosts["rows"], models.Index(fields=["note"], name="no", condition=condition))


@pytest.mark.django_db
def test_a_migration_has_the_field_as_it_is_and_its_names_change_no_column() -> None:
    rows: dict[int, Any] = {1: {"name": "up", "rank": 5}, 2: "down"}
    field = LookupField("states", "State", rows=rows, plan="order-states", key="integer", null=True)
    text, imports = MigrationWriter.serialize(field)
    assert text == (
        "rollout.fields.LookupField(key='integer', lookup='states', null=True, plan='order-states',"
        " rows={1: 'up', 2: 'down'}, verbose_name='State')"
    )
    assert imports == {"import rollout.fields"}
    assert field.clone().deconstruct() == field.deconstruct()
    field.set_attributes_from_name("state")
    assert (field.attname, field.column, field.db_type(connection)) == (
        "state",
        "state_id",
        "integer",
    )
    other = LookupField("other", rows={1: "up"}, key="integer", null=True)
    other.set_attributes_from_name("state")
    with connection.schema_editor(collect_sql=True) as opened:
        editor: Any = opened
        assert not editor._field_should_be_altered(field, other)
    for wrong in ({"rows": {1: "up", 2: "up"}}, {"db_default": "up"}):
        with pytest.raises(ValueError, match=r"same name|takes no db_default"):
            LookupField("states", **wrong)


@isolate_apps("properties")
def test_with_a_plan_a_text_means_what_the_plan_says_and_gets_its_row(filled: Rollout) -> None:
    class Listing(models.Model):
        id = models.UUIDField(primary_key=True)
        status = LookupField(
            "property_statuses", plan=filled.plan, db_column="property_status_id", null=True
        )

        class Meta:
            app_label = "properties"
            db_table = "properties"
            managed = False

        def __str__(self) -> str:
            return str(self.status)

    listings = Listing._base_manager
    listing = listings.exclude(status=None).earliest("pk")
    assert listing.status
    assert listing in listings.filter(status=f" {listing.status.upper()} ")
    for text in ("Haunted", " haunted "):
        listings.filter(pk=listing.pk).update(status=text)
        assert listings.get(status="HAUNTED").status == "Haunted"
    assert listings.filter(status__in=["never seen", "haunted"]).count() == 1
    assert not listings.exclude(status="never seen").filter(status="never seen").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM properties WHERE id = %s", [listing.pk])
        assert cursor.fetchone() == ("Haunted",)
    wrong = LookupField("property_statuses", plan=filled.plan, db_column="other")
    wrong.set_attributes_from_name("status")
    wrong.model = Listing
    with pytest.raises(UnknownLookup, match=r"no lookup of properties\.other"):
        wrong.id_of_text("x", connection, save=True)
