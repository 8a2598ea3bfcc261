"""Create, update, find and illustrate properties.

Every function is one transaction on the database ``using``. Callers never learn which shape of the
tables they were served from.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID, uuid4

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from properties.columns import SEARCHED_COLUMNS
from properties.facets import count_facets
from properties.images import examine
from properties.listings import (
    AttachedImage,
    Cursor,
    Facets,
    Filters,
    Listing,
    ListingImage,
    Page,
    PropertyFields,
)
from properties.matches import first_matches
from properties.shapes import Shape
from properties.text import given, shown
from properties.transition.shapes import current_shape, offer_shadow_read

PAGE_SIZE = 20
PLAIN_COLUMNS = (
    "title",
    "description",
    "address",
    "city",
    "postal_code",
    "price",
    "bedrooms",
    "bathrooms",
    "area",
    "latitude",
    "longitude",
)


class PropertyNotFound(Exception):
    """There is no property with this id."""


def create_property(fields: PropertyFields, *, using: str = "default") -> Listing:
    """Add a property. ``fields`` names at least the title."""
    now = timezone.now()
    texts = {"type": fields.get("type"), "status": fields.get("status")}
    with current_shape(using=using) as shape:
        row = shape.plain_properties().create(
            created_at=now,
            updated_at=now,
            **_plain(fields),
            **shape.classification(texts, created_at=now),
            **shape.new_property_defaults(),
        )
        return _get(shape, row.pk)


def update_property(
    property_id: UUID, changes: PropertyFields, *, using: str = "default"
) -> Listing:
    """Write exactly the columns whose values differ. Raises PropertyNotFound.

    A type or status that is already shown as given is left alone, whatever its spelling is in
    the database.
    """
    with current_shape(using=using) as shape:
        _lock(shape, property_id)
        row = _as_given(shape, property_id, changes)
        wanted = _plain(changes) | shape.classification(
            _new_texts(row, changes), created_at=row.created_at
        )
        columns = {name: value for name, value in wanted.items() if getattr(row, name) != value}
        if columns:
            shape.plain_properties().filter(pk=property_id).update(
                **columns, updated_at=timezone.now()
            )
        return _get(shape, property_id)


def get_property(property_id: UUID, *, using: str = "default") -> Listing:
    """One property with its images. Raises PropertyNotFound."""
    with current_shape(using=using) as shape:
        listing = _get(shape, property_id)
    offer_shadow_read("detail", shape, lambda other: _get_if_there(other, property_id))
    return listing


def search(
    filters: Filters,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    size: int = PAGE_SIZE,
    using: str = "default",
) -> Page:
    """A page of the listings that match ``filters``, newest first; give at most one cursor.

    One row more than the page holds is read, to learn whether there are more: nothing counts the
    whole table.
    """
    with current_shape(using=using) as shape:
        page = _page(shape, filters, after=after, before=before, size=size)
    offer_shadow_read(
        "search",
        shape,
        lambda other: _page(other, filters, after=after, before=before, size=size).listings,
    )
    return page


def _page(
    shape: Shape, filters: Filters, *, after: Cursor | None, before: Cursor | None, size: int
) -> Page:
    rows = shape.properties()
    rows = _after(rows, after) if before is None else _before(rows, before)
    matching = _matching(shape, rows, filters)
    fetched = first_matches(matching, rows, newest_first=before is None, size=size + 1)
    listings = tuple(_listing(row) for row in fetched[:size])
    if before is None:
        more_before, more_after = after is not None, len(fetched) > size
    else:
        listings = listings[::-1]
        more_before, more_after = len(fetched) > size, True
    return Page(
        listings=listings,
        previous=Cursor.of(listings[0]) if listings and more_before else None,
        next=Cursor.of(listings[-1]) if listings and more_after else None,
    )


def facets(*, using: str = "default") -> Facets:
    """The types and statuses in use, each with its number of listings, the largest first."""
    with current_shape(using=using) as shape:
        return count_facets(shape)


def attach_image(property_id: UUID, upload: File[Any], *, using: str = "default") -> AttachedImage:
    """Store an image and add it to a property. Raises ImageRefused, PropertyNotFound."""
    facts = examine(upload)
    # Stored before the transaction opens, so that no row stays locked while a file is written.
    key = default_storage.save(f"properties/{uuid4().hex}.{facts.extension}", upload)
    try:
        with current_shape(using=using) as shape:
            _lock(shape, property_id)
            images = shape.images().filter(property_id=property_id)
            last = images.aggregate(last=Max("position"))["last"]
            image = shape.images().create(
                property_id=property_id,
                url=default_storage.url(key),
                position=0 if last is None else last + 1,
                **shape.image_facts(
                    storage_key=key,
                    checksum=facts.checksum,
                    width=facts.width,
                    height=facts.height,
                ),
            )
    except BaseException:
        default_storage.delete(key)
        raise
    return AttachedImage(id=image.pk, url=image.url, position=image.position, storage_key=key)


def _plain(fields: PropertyFields) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in PLAIN_COLUMNS}


def _lock(shape: Shape, property_id: UUID) -> None:
    """Hold off other updates of the row until the transaction ends."""
    rows = shape.plain_properties().select_for_update(no_key=True).filter(pk=property_id)
    if rows.values_list("pk").first() is None:
        raise PropertyNotFound(property_id)


def _as_given(shape: Shape, property_id: UUID, changes: PropertyFields) -> Any:
    """The row, and beside it the given type and status as they would show.

    A query of its own, after the lock: one that waited for a lock would join stale lookup rows.
    """
    return (
        shape.properties()
        .annotate(
            given_type=shown(given(changes.get("type"))),
            given_status=shown(given(changes.get("status"))),
        )
        .get(pk=property_id)
    )


def _new_texts(row: Any, changes: PropertyFields) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    if "type" in changes and row.given_type != row.shown_type:
        texts["type"] = changes["type"]
    if "status" in changes and row.given_status != row.shown_status:
        texts["status"] = changes["status"]
    return texts


def _get(shape: Shape, property_id: UUID) -> Listing:
    row = shape.properties().filter(pk=property_id).first()
    if row is None:
        raise PropertyNotFound(property_id)
    images = shape.images().filter(property_id=property_id).order_by("position", "created_at")
    return _listing(row, images=tuple(_image(image) for image in images))


def _get_if_there(shape: Shape, property_id: UUID) -> tuple[Listing, ...]:
    try:
        return (_get(shape, property_id),)
    except PropertyNotFound:
        return ()


def _matching(shape: Shape, rows: QuerySet[Any], filters: Filters) -> QuerySet[Any]:
    if filters.text:
        contains = (Q(**{f"{column}__icontains": filters.text}) for column in SEARCHED_COLUMNS)
        rows = rows.filter(reduce(or_, contains))
    if filters.type:
        rows = shape.having(rows, "type", filters.type)
    if filters.status:
        rows = shape.having(rows, "status", filters.status)
    if filters.price_from is not None:
        rows = rows.filter(price__gte=filters.price_from)
    if filters.price_to is not None:
        rows = rows.filter(price__lte=filters.price_to)
    return rows


def _after(rows: QuerySet[Any], cursor: Cursor | None) -> QuerySet[Any]:
    if cursor is not None:
        # The first condition is the one that the index on created_at can start from.
        rows = rows.filter(created_at__lte=cursor.created_at).exclude(
            created_at=cursor.created_at, id__lte=cursor.id
        )
    return rows


def _before(rows: QuerySet[Any], cursor: Cursor) -> QuerySet[Any]:
    return rows.filter(created_at__gte=cursor.created_at).exclude(
        created_at=cursor.created_at, id__gte=cursor.id
    )


def _listing(row: Any, *, images: tuple[ListingImage, ...] = ()) -> Listing:
    return Listing(
        id=row.pk,
        type=row.shown_type,
        status=row.shown_status,
        created_at=row.created_at,
        updated_at=row.updated_at,
        images=images,
        **{name: getattr(row, name) for name in PLAIN_COLUMNS},
    )


def _image(image: Any) -> ListingImage:
    return ListingImage(id=image.pk, url=image.url, position=image.position)
