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
from properties.listings import Filters, Listing
from properties.sample_images import sample_png

TYPE, STATUS = "Apartment", "For sale"
OTHER_TYPE, OTHER_STATUS = "House", "Pending"


class Flow(Protocol):
    def __call__(self, *, using: str) -> str: ...


def create_property(*, using: str) -> str:
    """Create a property, change its type and status, and read each back."""
    created = _create(using=using)
    _expect_kind(catalog.get_property(created.id, using=using), TYPE, STATUS)
    catalog.update_property(
        created.id, {"type": OTHER_TYPE, "status": OTHER_STATUS, "price": Decimal(2)}, using=using
    )
    changed = catalog.get_property(created.id, using=using)
    _expect_kind(changed, OTHER_TYPE, OTHER_STATUS)
    _expect(changed.price == Decimal(2), f"the price reads {changed.price} instead of 2")
    _expect(changed.created_at == created.created_at, "the update changed created_at")
    return f"Property {created.id} was created as {TYPE}, changed to {changed.type}, read back."


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
    other = Filters(text=text, type=OTHER_TYPE)
    _expect(not _finds(other, created.id, using=using), f"a search for {other} finds it")
    return f"Property {created.id} was found by its words, type, status and price."


def upload_image(*, using: str) -> str:
    """Attach an image to a new property; find the row, and the file in the storage."""
    created = _create(using=using)
    upload = sample_png()
    image = catalog.attach_image(created.id, upload, using=using)
    try:
        shown = catalog.get_property(created.id, using=using).images
        _expect([each.id for each in shown] == [image.id], "the property does not show its image")
        with default_storage.open(image.storage_key) as stored:
            upload.seek(0)
            _expect(stored.read() == upload.read(), "the stored file differs from the upload")
    finally:
        default_storage.delete(image.storage_key)
    return f"Property {created.id} got an image of {upload.size} bytes, stored and read back."


def _create(*, using: str) -> Listing:
    return catalog.create_property(
        {
            "title": "Probe of a home",
            "description": "Made by a probe; never committed.",
            "price": Decimal(1),
            "type": TYPE,
            "status": STATUS,
        },
        using=using,
    )


def _finds(filters: Filters, property_id: UUID, *, using: str) -> bool:
    # What was created just now is among the newest.
    page = catalog.search(filters, using=using)
    return any(listing.id == property_id for listing in page.listings)


def _expect_kind(listing: Listing, type_text: str, status_text: str) -> None:
    # A lookup row may be named after another spelling of the value.
    shown = (listing.type.casefold(), listing.status.casefold())
    wanted = (type_text.casefold(), status_text.casefold())
    _expect(
        shown == wanted,
        f"it reads {listing.type}, {listing.status} instead of {type_text}, {status_text}",
    )


def _expect(condition: bool, failure: str) -> None:
    """An assert that ``python -O`` keeps."""
    if not condition:
        raise AssertionError(failure)
