"""What the catalogue gives its callers: plain values that do not tell the table's shape."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Self, TypedDict
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PropertyFields(TypedDict, total=False):
    """What a caller may set. ``price`` is in dollars, ``area`` in square feet.

    ``type`` and ``status`` are free text, written as given; None is "not specified".
    """

    title: str
    description: str
    address: str
    city: str
    postal_code: str
    price: Decimal | None
    bedrooms: int | None
    bathrooms: Decimal | None
    area: Decimal | None
    latitude: float | None
    longitude: float | None
    type: str | None
    status: str | None


@dataclass(frozen=True, kw_only=True)
class ListingImage:
    id: UUID
    url: str
    position: int


@dataclass(frozen=True, kw_only=True)
class AttachedImage(ListingImage):
    """An image just stored, with the key under which the default storage holds it."""

    storage_key: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One property. ``type`` and ``status`` are as people see them, never blank.

    ``images`` is empty in search results.
    """

    id: UUID
    title: str
    description: str
    address: str
    city: str
    postal_code: str
    price: Decimal | None
    bedrooms: int | None
    bathrooms: Decimal | None
    area: Decimal | None
    latitude: float | None
    longitude: float | None
    type: str
    status: str
    created_at: datetime
    updated_at: datetime
    images: tuple[ListingImage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a search asks for; an empty value asks for nothing. Prices are inclusive."""

    text: str = ""
    type: str = ""
    status: str = ""
    price_from: Decimal | None = None
    price_to: Decimal | None = None


@dataclass(frozen=True)
class Cursor:
    """A place in the order of a search: the listing next to which a page begins."""

    created_at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{(self.created_at - EPOCH) // timedelta(microseconds=1)}.{self.id.hex}"

    @classmethod
    def of(cls, listing: Listing) -> Self:
        return cls(listing.created_at, listing.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote. Raises ValueError for anything else."""
        microseconds, _, key = text.partition(".")
        try:
            return cls(EPOCH + timedelta(microseconds=int(microseconds)), UUID(hex=key))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"Invalid page token {text!r}") from error


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some listings of a search, newest first. A cursor is None if there is no such page."""

    listings: tuple[Listing, ...]
    previous: Cursor | None = None
    next: Cursor | None = None


@dataclass(frozen=True)
class Facet:
    """A type or a status, and how many listings have it."""

    label: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Facets:
    types: tuple[Facet, ...] = ()
    statuses: tuple[Facet, ...] = ()
    estimated: bool = False
    """Whether the counts are about right, by the statistics of a large table."""
