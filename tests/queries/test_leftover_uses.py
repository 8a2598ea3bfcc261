"""Uses of legacy columns in Python are found by line, and others are not."""

from pathlib import Path

import pytest
from django.db import models
from django.test.utils import isolate_apps

from properties.models import Property, PropertyImage
from rollout.plan import plans
from rollout.queries import leftovers
from rollout.queries.leftovers import leftovers_of
from tests.queries.searched_files import lines_of, marked, written
from tests.support.rollouts import PLAN

QUERIES = """
    from django.contrib.auth.models import User
    from django.db.models import F, Q
    from properties.models import LegacyProperty

    def report(cursor, rows):
        '''SELECT type FROM properties is what it was.'''
        LegacyProperty.objects.filter(status="open")  # found
        LegacyProperty.objects.order_by("city").exclude(status__in=["open"])  # found
        rows.filter(Q(type="House") & ~Q(status=None))  # found
        LegacyProperty.objects.values("city", "type").order_by("-status")  # found
        rows.update(type=F("city"))  # found
        rows.get_or_create(city="x", defaults={"type": "House"})  # found
        LegacyProperty(type="House")  # found
        LegacyProperty.objects.filter(status="open")  # rollout: ignore
        User.objects.filter(status="open", property__type="House")  # found
        User.objects.filter(status="open").values("type")
        cursor.execute("SELECT id FROM properties WHERE status = 'open'")  # found
        cursor.execute(f"UPDATE properties SET type = {rows}")  # found
        cursor.execute("SELECT status FROM orders")
        return {"type": rows.count(), "status": "the status of all properties"}

    class Form:
        class Meta:
            model = LegacyProperty
            fields = ["city", "type"]  # found

    class UserForm:
        class Meta:
            model = User
            fields = ["status"]
"""


def test_queries_and_sql_by_the_names_of_legacy_columns_are_found_and_no_others(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "reports.py", QUERIES)
    assert lines_of(path) == marked(path)
    kinds = {line.kind for line in leftovers_of(plans.get(PLAN), "default", [path]).lines}
    assert kinds == {"query", "sql"}


def test_queries_that_outlive_their_field_are_found_by_the_name_of_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "models_of", lambda label, alias: [Property, PropertyImage])
    text = QUERIES.replace("LegacyProperty", "Property")
    path = written(tmp_path, "reports.py", text)
    assert lines_of(path) == marked(path)


@isolate_apps("properties")
def test_a_field_of_the_new_column_that_has_the_old_name_is_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listing(models.Model):
        type = models.IntegerField(db_column="property_type_id")
        status = models.IntegerField(db_column="property_status_id")

        class Meta:
            app_label = "properties"

        def __str__(self) -> str:
            return "A listing"

    monkeypatch.setattr(leftovers, "models_of", lambda label, alias: [Listing])
    text = "Listing.objects.filter(status=1).values('type')\n# properties: Listing"
    assert lines_of(written(tmp_path, "views.py", text)) == []
