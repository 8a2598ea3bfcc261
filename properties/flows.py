"""The flows that matter, tried for real: create a property, search for it, upload an image.

The rollout's probes call these inside a transaction that they roll back. Each goes through the
catalogue as a page would, raises if what it wrote cannot be read back, and returns its evidence.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol
from uuid import UUID

from django.core.files.storage import default_storage

from properties import catalog
from properties.example_images import example_png
from properties.listings import Filters, Listing, PropertyFields
from properties.shapes import PLAN
from properties.transition.shapes import current_shape
from rollout.lookups import decided_meanings

TYPE, STATUS = "Apartment", "For sale"
OTHER_TYPE, OTHER_STATUS = "House", "Pending"
# Of each column: a smoke test is to take moments, and they are all written the same way.
MAX_DECISIONS = 3


class Flow(Protocol):
    def __call__(self, *, using: str) -> str: ...


def create_property(*, using: str) -> str:
    """Create a property, change its type and status, and read each back."""
    created = _create(using=using)
    _expect_kind(catalog.get_property(created.id, using=using), TYPE, STATUS, using=using)
    catalog.update_property(
        created.id, {"type": OTHER_TYPE, "status": OTHER_STATUS, "price": Decimal(2)}, using=using
    )
    changed = catalog.get_property(created.id, using=using)
    _expect_kind(changed, OTHER_TYPE, OTHER_STATUS, using=using)
    _expect(changed.price == Decimal(2), f"the price reads {changed.price} instead of 2")
    _expect(changed.created_at == created.created_at, "the update changed created_at")
    return f"Property {created.id} created as {TYPE}, changed to {changed.type} and read."


def search(*, using: str) -> str:
    """Create a property and find it by its words, type and status, and not by another type."""
    created = _create(using=using)
    text = "home"  # frequent, so that a page of it is found fast in a large table
    for filters in (
        Filters(text=text),
        Filters(text=text, type=TYPE.upper()),
        Filters(text=text, status=f" {STATUS} "),
        Filters(type=TYPE, status=STATUS, price_from=Decimal(1), price_to=Decimal(1)),
    ):
        _expect(_finds(filters, created.id, using=using), f"a search for {filters} misses it")
    if _shown("type", OTHER_TYPE, using=using) != _shown("type", TYPE, using=using):
        other = Filters(text=text, type=OTHER_TYPE)
        _expect(not _finds(other, created.id, using=using), f"a search for {other} finds it")
    return f"Property {created.id} found by its words, type, status and price."


def upload_image(*, using: str) -> str:
    """Attach an image to a new property; find the row, and the file in the storage."""
    created = _create(using=using)
    upload = example_png()
    image = catalog.attach_image(created.id, upload, using=using)
    try:
        shown = catalog.get_property(created.id, using=using).images
        _expect(
            [image_shown.id for image_shown in shown] == [image.id],
            "the property does not show its image",
        )
        with default_storage.open(image.storage_key) as stored:
            upload.seek(0)
            _expect(stored.read() == upload.read(), "the stored file differs from the upload")
    finally:
        default_storage.delete(image.storage_key)
    return f"Property {created.id}: image of {upload.size} bytes stored and read."


def decided_text(*, using: str) -> str:
    """Write texts that people decided on, in new and in changed rows: each as the chosen row."""
    evidence = [
        _write_decided(name, text, using=using)
        for name in ("type", "status")
        for text in _decided(name, using=using)[:MAX_DECISIONS]
    ]
    return " ".join(evidence) or "No review maps a value to another name: nothing to test."


def _decided(name: str, *, using: str) -> list[str]:
    """Texts that mean another row than that of their own name."""
    decisions = decided_meanings(PLAN, f"properties.{name}", using=using)
    return sorted(text for text, row in decisions.items() if (row or "").casefold() != text)


def _write_decided(name: str, text: str, *, using: str) -> str:
    before = _lookup_rows(name, using=using)
    created = _create(using=using, **{name: text})
    changed = _create(using=using)
    catalog.update_property(changed.id, _only(name, text), using=using)
    expected = _shown(name, text, using=using)
    for property_id in (created.id, changed.id):
        listing = catalog.get_property(property_id, using=using)
        shown = listing.type if name == "type" else listing.status
        _expect(shown == expected, f"the {name} {text} reads {shown} instead of {expected}")
        _expect_row(name, text, property_id, using=using)
    made = _lookup_rows(name, using=using) - before
    _expect(text not in made, f"the {name} {text} got a lookup row, but is mapped to no value")
    return f"The {name} {text} reads {expected}."


def _only(name: str, text: str) -> PropertyFields:
    return {"type": text} if name == "type" else {"status": text}


def _expect_row(name: str, text: str, property_id: UUID, *, using: str) -> None:
    """Whoever wrote it last, application or trigger: the row is the one that was decided."""
    with current_shape(using=using) as shape:
        written = shape.lookup_row(name, property_id)
        decided = shape.known_row(name, text)
    _expect(written == decided, f"the {name} {text} is row {written} instead of {decided}")


def _lookup_rows(name: str, *, using: str) -> set[str]:
    """The names of the lookup rows, in lower case; none while there is no table of them."""
    with current_shape(using=using) as shape:
        return {row.lower() for row in shape.lookup_names(name)}


def _create(*, using: str, type: str = TYPE, status: str = STATUS) -> Listing:
    return catalog.create_property(
        {
            "title": "Probe of a home",
            "description": "Created by a smoke test; never committed.",
            "price": Decimal(1),
            "type": type,
            "status": status,
        },
        using=using,
    )


def _finds(filters: Filters, property_id: UUID, *, using: str) -> bool:
    # What was created just now is among the newest.
    page = catalog.search(filters, using=using)
    return any(listing.id == property_id for listing in page.listings)


def _shown(name: str, text: str, *, using: str) -> str:
    with current_shape(using=using) as shape:
        return shape.meaning(name, text)


def _expect_kind(listing: Listing, type_text: str, status_text: str, *, using: str) -> None:
    # A lookup row may be named after another spelling of the value.
    shown = (listing.type.casefold(), listing.status.casefold())
    wanted = (
        _shown("type", type_text, using=using).casefold(),
        _shown("status", status_text, using=using).casefold(),
    )
    _expect(
        shown == wanted,
        f"it reads {listing.type}, {listing.status} instead of {type_text}, {status_text}",
    )


def _expect(condition: bool, failure: str) -> None:
    """An assert that ``python -O`` keeps."""
    if not condition:
        raise AssertionError(failure)
