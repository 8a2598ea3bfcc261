from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from properties.models import Property, PropertyStatus, PropertyType
from properties.transition.models import LegacyProperty
from tests.properties import shapes
from tests.properties.test_csv_file import GOOD, HEADER

pytestmark = pytest.mark.django_db


def load(*arguments: object) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("load_listings", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_good_rows_are_loaded_and_bad_ones_reported_by_line(tmp_path: Path) -> None:
    file = tmp_path / "listings.csv"
    file.write_bytes(b"\n".join([HEADER, GOOD, b"bad", GOOD, GOOD.replace(b"900", b"big")]))
    out, err = load("--file", file)
    assert out == "Loaded 2 listings; 0 were there already; 2 rows were rejected.\n"
    assert err == (
        f"{file}: line 3: has 1 columns instead of 12\n"
        f"{file}: line 5: area_sqft: 'big' is not a number\n"
    )
    first = LegacyProperty.objects.order_by("-created_at")[0]
    assert (first.title, first.type, first.status) == ("Home", "Co-op", "Sold")
    assert first.price == 250000


def test_loading_twice_doubles_nothing(tmp_path: Path) -> None:
    file = tmp_path / "listings.csv"
    file.write_bytes(b"\n".join([HEADER, GOOD, GOOD]))
    load("--file", file)
    out, _ = load("--file", file)
    assert out == "Loaded 0 listings; 2 were there already; 0 rows were rejected.\n"
    assert LegacyProperty.objects.count() == 2


def test_nothing_readable_is_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "listings.csv"
    file.write_bytes(HEADER + b"\nbad\n")
    with pytest.raises(CommandError, match="no row could be read") as failure:
        load("--file", file)
    assert failure.value.returncode == 2
    with pytest.raises(CommandError, match=r"none\.csv: No such file") as failure:
        load("--file", tmp_path / "none.csv")
    assert failure.value.returncode == 2


def test_made_up_listings_are_untidy_and_depend_on_the_seed() -> None:
    out, _ = load("--rows", 2_000, "--seed", 7)
    assert out.startswith("Loaded 2,000 listings")
    types = set(LegacyProperty.objects.values_list("type", flat=True))
    assert {None, "", "Apartment", "apartment", " Apartment"} <= types
    assert 60 < len(types) < 100
    out, _ = load("--rows", 2_500, "--seed", 7)
    assert out.startswith("Loaded 500 listings; 2,000 were there already")
    assert load("--rows", 10, "--seed", 8)[0].startswith("Loaded 10 listings")


def test_listings_are_loaded_while_both_shapes_are_written() -> None:
    shapes.reach("both")
    assert load("--rows", 5)[0].startswith("Loaded 5 listings")


def test_after_the_cutover_listings_are_loaded_as_the_lookup_rows_that_they_mean() -> None:
    shapes.reach("new")
    shapes.decide("type", {"apartment": "Flat"})
    shapes.decide("status", {"sold": "For sale"})
    assert load("--rows", 500)[0].startswith("Loaded 500 listings")
    assert load("--rows", 510)[0].startswith("Loaded 10 listings; 500 were there already")
    types = set(PropertyType.objects.values_list("name", flat=True))
    assert "Flat" in types
    assert "apartment" not in {name.lower() for name in types}
    assert not PropertyStatus.objects.filter(name__iexact="sold").exists()
    listed = Property.objects.filter(property_status__name="For sale")
    right = listed.filter(is_listed=True, published_at=F("created_at"))
    assert right.count() == listed.count() > 150
    pending = Property.objects.filter(property_status__name__iexact="pending")
    right = pending.filter(is_listed=False, published_at=None)
    assert right.count() == pending.count() > 0
