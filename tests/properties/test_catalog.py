from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from properties import catalog, facet_estimates
from properties.columns import SEARCHED_COLUMNS
from properties.example_images import example_png
from properties.images import ImageRefused
from properties.listings import Cursor, Facet, Filters, Listing, Page, PropertyFields
from properties.models import PropertyImage, PropertyStatus, PropertyType
from properties.transition.models import LegacyProperty
from tests.properties import shapes
from tests.properties.shapes import ShapeName, raw
from tests.support.servers import Database


def create(
    title: str = "A home", *, type: str | None = "Loft", status: str | None = "Active"
) -> Listing:
    return catalog.create_property({"title": title, "type": type, "status": status})


def titles(filters: Filters) -> list[str]:
    return sorted(listing.title for listing in catalog.search(filters).listings)


def test_a_created_listing_reads_back(shape: ShapeName) -> None:
    fields: PropertyFields = {
        "title": "NullControl corner",
        "description": "Two rooms.\nOne view.",
        "address": "1 Main St",
        "city": "Zürich",
        "postal_code": "8001",
        "price": Decimal("1250000.50"),
        "bedrooms": 2,
        "bathrooms": Decimal("1.5"),
        "area": Decimal("812.5"),
        "latitude": 47.3769,
        "longitude": 8.5417,
        "type": "Wohnung",
        "status": "For sale",
    }
    created = catalog.create_property(fields)
    assert catalog.get_property(created.id) == created
    assert {name: getattr(created, name) for name in fields} == fields
    assert created.created_at == created.updated_at


@pytest.mark.parametrize("nothing", [None, "", "   ", "\u00a0 "])
def test_no_type_or_status_shows_as_unspecified(shape: ShapeName, nothing: str | None) -> None:
    listing = create(type=nothing, status=nothing)
    assert (listing.type, listing.status) == ("Unspecified", "Unspecified")


def test_an_untidy_type_is_shown_tidy(shape: ShapeName) -> None:
    assert create(type=" Town \u00a0 house  ").type == "Town house"


def test_an_update_writes_what_changed_and_nothing_else(shape: ShapeName) -> None:
    before = create()
    after = catalog.update_property(before.id, {"price": Decimal(5), "title": before.title})
    assert after.price == 5
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at
    assert (after.title, after.type, after.status) == ("A home", "Loft", "Active")


def test_an_update_that_changes_nothing_is_no_write(shape: ShapeName) -> None:
    before = create()
    assert catalog.update_property(before.id, {"title": "A home", "type": "Loft"}) == before


def test_type_and_status_can_be_changed_and_cleared(shape: ShapeName) -> None:
    listing = create()
    changed = catalog.update_property(listing.id, {"type": "House", "status": "Sold"})
    assert (changed.type, changed.status) == ("House", "Sold")
    cleared = catalog.update_property(listing.id, {"type": None, "status": ""})
    assert (cleared.type, cleared.status) == ("Unspecified", "Unspecified")


@pytest.mark.parametrize("name", ["legacy", "both"])
def test_saving_the_shown_type_keeps_the_spelling_that_was_typed(db: None, name: ShapeName) -> None:
    shapes.reach(name)
    listing = create(type="  Town\u00a0 house", status="")
    catalog.update_property(
        listing.id, {"title": "B", "type": listing.type, "status": listing.status}
    )
    assert raw("title", listing.id) == "B"
    assert raw("type", listing.id) == "  Town\u00a0 house"
    assert raw("status", listing.id) == ""


def test_a_new_spelling_is_written_as_typed_in_legacy_mode(db: None) -> None:
    listing = create(type="loft")
    assert catalog.update_property(listing.id, {"type": "LOFT "}).type == "LOFT"
    assert raw("type", listing.id) == "LOFT "


def test_writing_both_fills_text_and_new_columns(db: None) -> None:
    shapes.reach("both")
    listing = create(type=" loft ", status="FOR  sale")
    loft, for_sale = PropertyType.objects.get(), PropertyStatus.objects.get()
    assert (loft.name, for_sale.name) == ("loft", "FOR sale")
    assert raw("type", listing.id) == " loft "
    assert raw("status", listing.id) == "FOR  sale"
    assert raw("property_type_id", listing.id) == loft.id
    assert raw("property_status_id", listing.id) == for_sale.id
    assert raw("currency", listing.id) == "USD"
    assert raw("is_listed", listing.id) is True
    assert raw("published_at", listing.id) == listing.created_at

    catalog.update_property(listing.id, {"status": "Sold"})
    assert raw("status", listing.id) == "Sold"
    assert raw("property_status_id", listing.id) == PropertyStatus.objects.get(name="Sold").id
    assert raw("is_listed", listing.id) is False
    assert raw("published_at", listing.id) is None


def test_writing_new_follows_the_status_with_what_is_derived_from_it(db: None) -> None:
    shapes.reach("new")
    listing = create(status="Pending")
    assert raw("is_listed", listing.id) is False
    assert raw("published_at", listing.id) is None
    catalog.update_property(listing.id, {"status": "coming\u00a0SOON"})
    assert raw("is_listed", listing.id) is True
    assert raw("published_at", listing.id) == listing.created_at


@pytest.mark.parametrize("name", ["both", "new"])
def test_spellings_of_one_value_share_a_lookup_row(db: None, name: ShapeName) -> None:
    shapes.reach(name)
    first, second = create(type="Château"), create(type=" CHÂTEAU\u00a0")
    assert raw("property_type_id", first.id) == raw("property_type_id", second.id)
    assert PropertyType.objects.get().name == "Château"


@pytest.mark.parametrize("name", ["both", "new"])
def test_a_text_that_people_decided_on_is_written_as_the_row_they_chose(
    db: None, name: ShapeName
) -> None:
    shapes.expand()
    shapes.decide("type", {"h": "House", "apt": "Apartment"})
    shapes.decide("status", {"vb": "Sold"})
    if name == "new":
        shapes.cut_over()
    created = create(type=" H ", status="VB")
    changed = create("Another", type="House", status="Sold")
    catalog.update_property(changed.id, {"type": "apt", "title": "One"})
    house = PropertyType.objects.get(name="House").pk
    assert raw("property_type_id", created.id) == house
    assert raw("property_status_id", created.id) == raw("property_status_id", changed.id)
    assert set(PropertyType.objects.values_list("name", flat=True)) == {"House", "Apartment"}
    assert [s.name for s in PropertyStatus.objects.all()] == ["Sold"]
    assert raw("is_listed", created.id) is False
    if name == "new":
        shown = catalog.get_property(created.id)
        assert (shown.type, shown.status) == ("House", "Sold")
        assert titles(Filters(type="h")) == titles(Filters(type="HOUSE")) == ["A home"]
        assert titles(Filters(type="apt", status="vb")) == ["One"]


def test_a_search_for_what_nobody_has_written_finds_nothing_and_writes_nothing(db: None) -> None:
    shapes.reach("new")
    create(type="House")
    assert titles(Filters(type="Castle")) == []
    assert PropertyType.objects.count() == 1


def test_an_unknown_property_is_not_found(shape: ShapeName) -> None:
    nobody = uuid4()
    with pytest.raises(catalog.PropertyNotFound):
        catalog.get_property(nobody)
    with pytest.raises(catalog.PropertyNotFound):
        catalog.update_property(nobody, {"title": "x"})


@pytest.mark.parametrize("text", ["garden", "GARDEN", "arde"])
def test_text_is_found_in_title_description_and_address(shape: ShapeName, text: str) -> None:
    catalog.create_property({"title": "Garden flat"})
    catalog.create_property({"title": "Two", "description": "with a garden"})
    catalog.create_property({"title": "Three", "address": "1 Gardener Rd"})
    catalog.create_property({"title": "Four", "city": "Garden City"})
    assert titles(Filters(text=text)) == ["Garden flat", "Three", "Two"]


def test_a_search_for_words_can_start_from_trigrams(shape: ShapeName) -> None:
    with CaptureQueriesContext(connection) as queries:
        catalog.search(Filters(text="garden"))
    (search,) = (query["sql"] for query in queries if "GARDEN" in query["sql"].upper())
    with connection.cursor() as cursor:
        # A table this small is read in full otherwise.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        cursor.execute(f"EXPLAIN {search}")
        plan = "\n".join(line for (line,) in cursor)
    for column in SEARCHED_COLUMNS:
        assert f"properties_{column}_trgm" in plan


@pytest.mark.parametrize(
    ("filters", "indexes"),
    [
        (Filters(price_from=Decimal(5), price_to=Decimal(6)), ["properties_price_idx"]),
        (Filters(type="loft"), ["properties_type_status_idx"]),
        (Filters(status="sold"), ["properties_status_idx"]),
        (Filters(status="unspecified"), ["properties_status_idx"]),
    ],
    ids=str,
)
def test_a_search_of_texts_that_finds_little_can_start_from_an_index(
    db: None, filters: Filters, indexes: list[str]
) -> None:
    create("A", type=" Loft", status="SOLD"), create("B", type=None, status=None)
    with CaptureQueriesContext(connection) as queries:
        catalog.search(filters)
    search = next(query["sql"] for query in queries if query["sql"].endswith(" LIMIT 21"))
    with connection.cursor() as cursor:
        # A table this small is read in full otherwise, or in the order of its listings.
        cursor.execute("SET LOCAL enable_seqscan = off; DROP INDEX properties_created_idx")
        cursor.execute(f"EXPLAIN {search}")
        plan = "\n".join(line for (line,) in cursor)
    assert [index for index in indexes if index in plan] == indexes, plan


def test_signs_that_mean_something_to_like_are_plain_text(shape: ShapeName) -> None:
    create("50% off"), create("50 steps off")
    assert titles(Filters(text="50% o")) == ["50% off"]


@pytest.mark.parametrize("asked", ["Town house", "town house", " TOWN\u00a0 house "])
def test_a_type_is_found_under_every_spelling(shape: ShapeName, asked: str) -> None:
    create("A", type="Town house"), create("B", type=" town  HOUSE"), create("C", type="Townhouse")
    assert titles(Filters(type=asked)) == ["A", "B"]


def test_unspecified_finds_null_blank_and_the_word_itself(shape: ShapeName) -> None:
    create("A", status=None), create("B", status=" "), create("C", status="unspecified")
    create("D", status="Sold")
    assert titles(Filters(status="Unspecified")) == ["A", "B", "C"]
    assert titles(Filters(type="no such type")) == []


def test_prices_are_bounds_that_belong_to_the_search(shape: ShapeName) -> None:
    for price in (None, Decimal(1), Decimal(2), Decimal(3)):
        catalog.create_property({"title": str(price), "price": price})
    assert titles(Filters(price_from=Decimal(2))) == ["2", "3"]
    assert titles(Filters(price_from=Decimal(2), price_to=Decimal(2))) == ["2"]


def test_pages_show_every_listing_once_newest_first_and_lead_back(db: None) -> None:
    # Two that were added at the same moment stand on either side of a page's end.
    moments = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3, 3, 4)]
    for moment in moments:
        LegacyProperty.objects.create(title=str(moment), created_at=moment, updated_at=moment)
    wanted = list(LegacyProperty.objects.order_by("-created_at", "id").values_list("id", flat=True))

    def ids(page: Page) -> list[UUID]:
        return [listing.id for listing in page.listings]

    first = catalog.search(Filters(), size=2)
    second = catalog.search(Filters(), after=first.next, size=2)
    third = catalog.search(Filters(), after=second.next, size=2)
    assert ids(first) + ids(second) + ids(third) == wanted
    assert first.previous is None
    assert third.next is None
    assert catalog.search(Filters(), before=third.previous, size=2) == second
    back = catalog.search(Filters(), before=second.previous, size=2)
    assert ids(back) == ids(first)
    assert back.previous is None


def test_a_cursor_survives_being_written_and_read() -> None:
    cursor = Cursor(datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC), uuid4())
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "1", "1.x", f"{10**30}.{UUID(int=0)}", "1.2.3", "\0"])
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid page token"):
        Cursor.parse(text)


def test_facets_count_by_normal_form_under_the_most_frequent_tidy_spelling(db: None) -> None:
    for text in ("loft", "Loft", " Loft", "LOFT", "House", None, " "):
        create(type=text, status="Sold")
    assert catalog.facets().types == (Facet("Loft", 4), Facet("Unspecified", 2), Facet("House", 1))
    assert catalog.facets().statuses == (Facet("Sold", 7),)


def test_facets_of_a_large_table_are_estimated_by_its_statistics(
    shape: ShapeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("loft", "Loft", " Loft", "House", "House", None, None, "Loft", "loft", " Loft"):
        create(type=text, status="Sold")
    counted = catalog.facets()
    assert not counted.estimated
    monkeypatch.setattr(facet_estimates, "LARGE", 5)
    assert catalog.facets() == counted, "there are no statistics yet"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE properties")
    estimated = catalog.facets()
    assert estimated.estimated
    assert (estimated.types, estimated.statuses) == (counted.types, counted.statuses)
    assert Facet("House", 2) in estimated.types


def test_answers_are_the_same_before_and_after_the_cutover(db: None) -> None:
    for title, type_text, status in (
        ("A", "Loft", "For sale"),
        ("B", "Loft", "Sold"),
        ("C", "  Loft\u00a0", None),
        ("D", "", "Sold"),
        ("E", "マンション", "Sold"),
    ):
        create(title, type=type_text, status=status)
    searches = (Filters(), Filters(type="loft"), Filters(status="unspecified"), Filters(text="e"))

    def answers() -> list[object]:
        return [*(catalog.search(filters) for filters in searches), catalog.facets()]

    before = answers()
    shapes.expand()
    assert answers() == before
    shapes.cut_over()
    assert answers() == before
    shapes.count_listings()
    assert answers() == before


def test_an_image_is_stored_and_shown_in_order(shape: ShapeName, media: Path) -> None:
    listing = create()
    first = catalog.attach_image(listing.id, example_png())
    second = catalog.attach_image(listing.id, example_png(colour="red"))
    shown = catalog.get_property(listing.id).images
    assert [(image.id, image.position) for image in shown] == [(first.id, 0), (second.id, 1)]
    assert first.url == f"/media/{first.storage_key}"
    assert (media / first.storage_key).read_bytes() == example_png().read()


@pytest.mark.parametrize("name", ["both", "new"])
def test_an_image_fills_the_new_columns_when_they_are_written(db: None, name: ShapeName) -> None:
    shapes.reach(name)
    image = catalog.attach_image(create().id, example_png(width=7, height=5))
    row = PropertyImage.objects.get(pk=image.id)
    assert (row.storage_key, row.width, row.height) == (image.storage_key, 7, 5)
    assert row.checksum is not None
    assert len(row.checksum) == 64


def test_no_file_stays_behind_when_there_is_no_property(shape: ShapeName) -> None:
    with pytest.raises(catalog.PropertyNotFound):
        catalog.attach_image(uuid4(), example_png())
    assert default_storage.listdir("properties") == ([], [])


def test_a_refused_image_is_not_stored(shape: ShapeName) -> None:
    with pytest.raises(ImageRefused):
        catalog.attach_image(create().id, ContentFile(b"text", name="x.png"))
    assert not default_storage.exists("properties")


def test_an_update_waits_for_another_update_of_the_row(committed_db: Database) -> None:
    listing = create()
    with psycopg.connect(committed_db.url) as other:
        other.execute("UPDATE properties SET price = 1 WHERE id = %s", [listing.id])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            catalog.update_property(listing.id, {"title": "B"})
        other.commit()
    assert catalog.update_property(listing.id, {"title": "B"}).price == 1
