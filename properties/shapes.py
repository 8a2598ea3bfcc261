"""The property tables, with the lookup rows that texts mean.

The only place that knows which columns exist: the catalogue above it speaks of listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from properties.models import (
    Property,
    PropertyImage,
    PropertyListingCount,
    PropertyStatus,
    PropertyType,
)
from properties.text import UNSPECIFIED, normal_form
from rollout.lookups import known_lookup_id, lookup_id

PLAN = "property-classification"
CURRENCY = "USD"
LISTED_STATUSES = frozenset({"for sale", "active", "coming soon"})

LOOKUP_MODELS: Mapping[str, type[PropertyType] | type[PropertyStatus]] = {
    "type": PropertyType,
    "status": PropertyStatus,
}
# One counted group: what tells a type from others, its label, the same for status, listings.
Group = tuple[object, str, object, str, int]
# One value of a column: what tells it from others, its label, listings.
CountedValue = tuple[object, str, int]


@dataclass(frozen=True)
class Shape:
    """A database, inside a transaction."""

    using: str

    def properties(self) -> QuerySet[Any]:
        """The rows, each with ``shown_type`` and ``shown_status``."""
        rows: QuerySet[Any] = self.plain_properties().annotate(
            shown_type=self.shown("type"), shown_status=self.shown("status")
        )
        return rows

    def plain_properties(self) -> QuerySet[Any]:
        return Property.objects.using(self.using)

    def images(self) -> QuerySet[Any]:
        return PropertyImage.objects.using(self.using)

    def having(self, rows: QuerySet[Any], name: str, text: str) -> QuerySet[Any]:
        """Those of the rows whose ``type`` or ``status`` is what a text means."""
        row = self.known_row(name, text)
        return rows.none() if row is None else rows.filter(**{f"property_{name}_id": row})

    def classification(
        self, texts: Mapping[str, str | None], *, created_at: datetime
    ) -> dict[str, Any]:
        """The columns to write so that a row has the given ``type`` and ``status``, or either."""
        columns: dict[str, Any] = {
            f"property_{name}_id": lookup_id(PLAN, f"properties.{name}", text, using=self.using)
            for name, text in texts.items()
        }
        if "status" in texts:
            is_listed = columns["property_status_id"] in self.listed_statuses()
            columns["is_listed"] = is_listed
            columns["published_at"] = created_at if is_listed else None
        return columns

    def listed_statuses(self) -> list[int]:
        """The ids of the statuses on offer."""
        statuses = PropertyStatus.objects.using(self.using).alias(form=normal_form(F("name")))
        return list(statuses.filter(form__in=LISTED_STATUSES).values_list("id", flat=True))

    def meaning(self, name: str, text: str) -> str:
        """How a ``type`` or ``status`` is shown that was written as ``text``; writes nothing."""
        row = self.known_row(name, text)
        if row is None:
            return " ".join(text.split())
        return LOOKUP_MODELS[name].objects.using(self.using).get(pk=row).name

    def lookup_names(self, name: str) -> set[str]:
        """The names of all lookup rows."""
        rows = LOOKUP_MODELS[name].objects.using(self.using)
        return set(rows.values_list("name", flat=True))

    def known_row(self, name: str, text: str) -> int | None:
        """The id of the lookup row that a text means; writes nothing."""
        return known_lookup_id(PLAN, f"properties.{name}", text, using=self.using)

    def lookup_row(self, name: str, property_id: UUID) -> int | None:
        """The id of a property's lookup row."""
        rows = Property.objects.using(self.using).filter(pk=property_id)
        id_: int | None = rows.values_list(f"property_{name}_id", flat=True).get()
        return id_

    def new_property_defaults(self) -> dict[str, Any]:
        return {"currency": CURRENCY}

    def image_facts(self, **facts: object) -> dict[str, Any]:
        """The columns to write of what is known of an image."""
        return facts

    def groups(self) -> Iterable[Group]:
        """How many listings there are of each type and status."""
        counts = (
            PropertyListingCount.objects.using(self.using)
            .filter(city__isnull=True)
            .values_list("type", "status", "listings")
        )
        for type_, status, listings in counts:
            yield type_, type_, status, status, listings

    def estimates(self) -> list[list[CountedValue]] | None:
        """About how many there are of each type, and of each status. None: count the groups."""
        return None

    def shown(self, name: str) -> Combinable:
        """A ``type`` or ``status`` as people see it."""
        return Coalesce(F(f"property_{name}__name"), Value(UNSPECIFIED), output_field=TextField())
