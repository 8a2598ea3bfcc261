"""The property tables in the shape that the rollout's modes say is in force.

The only place that knows which columns exist: the catalogue above it speaks of listings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from properties.models import (
    ExpandedProperty,
    ExpandedPropertyImage,
    LegacyProperty,
    LegacyPropertyImage,
    NormalizedProperty,
    NormalizedPropertyImage,
    PropertyStatus,
    PropertyType,
)
from properties.text import UNSPECIFIED, given, normal_form, shown
from rollout.lookups import known_lookup_id, lookup_id
from rollout.modes import Modes, current_modes

PLAN = "property-classification"
CURRENCY = "USD"
LISTED_STATUSES = frozenset({"for sale", "active", "coming soon"})

# The write mode tells which columns may be named at all, and so the class.
PROPERTY_MODELS: Mapping[
    str, type[LegacyProperty] | type[ExpandedProperty] | type[NormalizedProperty]
] = {
    "legacy": LegacyProperty,
    "both": ExpandedProperty,
    "new": NormalizedProperty,
}
IMAGE_MODELS: Mapping[
    str, type[LegacyPropertyImage] | type[ExpandedPropertyImage] | type[NormalizedPropertyImage]
] = {
    "legacy": LegacyPropertyImage,
    "both": ExpandedPropertyImage,
    "new": NormalizedPropertyImage,
}

LOOKUP_MODELS: Mapping[str, type[PropertyType] | type[PropertyStatus]] = {
    "type": PropertyType,
    "status": PropertyStatus,
}


@contextmanager
def current_shape(*, using: str) -> Iterator[Shape]:
    """A transaction during which the shape does not change under the caller."""
    with current_modes(PLAN, using=using) as modes:
        yield Shape(modes, using)


@dataclass(frozen=True)
class Shape:
    modes: Modes
    using: str

    @property
    def reads_text(self) -> bool:
        return self.modes.read == "legacy"

    @property
    def writes_text(self) -> bool:
        return self.modes.write in {"legacy", "both"}

    @property
    def writes_new_columns(self) -> bool:
        return self.modes.write in {"both", "new"}

    def properties(self) -> QuerySet[Any]:
        """The rows, each with ``shown_type`` and ``shown_status``."""
        rows: QuerySet[Any] = self.plain_properties().annotate(
            shown_type=self._shown("type"), shown_status=self._shown("status")
        )
        return rows

    def plain_properties(self) -> QuerySet[Any]:
        return PROPERTY_MODELS[self.modes.write].objects.using(self.using)

    def images(self) -> QuerySet[Any]:
        return IMAGE_MODELS[self.modes.write].objects.using(self.using)

    def of_type(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        if self.reads_text:
            return self._of_form(rows, "type", text)
        return self._of_row(rows, "type", text)

    def of_status(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        if self.reads_text:
            return self._of_form(rows, "status", text)
        return self._of_row(rows, "status", text)

    def classification(
        self, texts: Mapping[str, str | None], *, created_at: datetime
    ) -> dict[str, Any]:
        """The columns to write so that a row has the given ``type`` and ``status``, or either."""
        columns: dict[str, Any] = dict(texts) if self.writes_text else {}
        if not self.writes_new_columns:
            return columns
        if "type" in texts:
            columns["property_type_id"] = self._lookup_id("type", texts["type"])
        if "status" in texts:
            row = self._lookup_id("status", texts["status"])
            is_listed = self._is_listed(row, texts["status"])
            columns["property_status_id"] = row
            columns["is_listed"] = is_listed
            columns["published_at"] = created_at if is_listed else None
        return columns

    def listed_statuses(self) -> list[int]:
        """The ids of the statuses on offer."""
        statuses = PropertyStatus.objects.using(self.using).alias(form=normal_form(F("name")))
        return list(statuses.filter(form__in=LISTED_STATUSES).values_list("id", flat=True))

    def meaning(self, name: str, text: str) -> str:
        """How a ``type`` or ``status`` is shown that was written as ``text``; writes nothing."""
        tidy = " ".join(text.split())
        if self.reads_text:
            return tidy
        row = known_lookup_id(PLAN, f"properties.{name}", text, using=self.using)
        if row is None:
            return tidy
        return LOOKUP_MODELS[name].objects.using(self.using).get(pk=row).name

    def _lookup_id(self, name: str, text: str | None) -> int | None:
        return lookup_id(PLAN, f"properties.{name}", text, using=self.using)

    def _is_listed(self, status: int | None, text: str | None) -> bool:
        """Whether a status is on offer: by its text, as the triggers say, while there is one."""
        if status is None:
            return False
        form = normal_form(given(text) if self.writes_text else F("name"))
        statuses = PropertyStatus.objects.using(self.using).filter(pk=status)
        return statuses.alias(form=form).filter(form__in=LISTED_STATUSES).exists()

    def new_property_defaults(self) -> dict[str, Any]:
        return {"currency": CURRENCY} if self.writes_new_columns else {}

    def image_facts(
        self, *, storage_key: str, checksum: str, width: int, height: int
    ) -> dict[str, Any]:
        if not self.writes_new_columns:
            return {}
        return {
            "storage_key": storage_key,
            "checksum": checksum,
            "width": width,
            "height": height,
        }

    def _shown(self, name: str) -> Combinable:
        if self.reads_text:
            return shown(F(name))
        return Coalesce(F(f"property_{name}__name"), Value(UNSPECIFIED), output_field=TextField())

    def _of_row(self, rows: QuerySet[Any], name: str, text: str) -> QuerySet[Any]:
        row = known_lookup_id(PLAN, f"properties.{name}", text, using=self.using)
        return rows.none() if row is None else rows.filter(**{f"property_{name}_id": row})

    def _of_form(self, rows: QuerySet[Any], name: str, text: str) -> QuerySet[Any]:
        matching: QuerySet[Any] = rows.alias(**{f"{name}_form": normal_form(F(name))}).filter(
            **{f"{name}_form": normal_form(given(text))}
        )
        return matching
