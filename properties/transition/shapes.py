"""The property tables in the shape that the rollout's modes say is in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper
from django.db.models import Count, F, Min, QuerySet
from django.db.models.expressions import Combinable
from psycopg import sql

from properties import facet_estimates
from properties.listings import Listing
from properties.models import Property, PropertyImage, PropertyStatus, PropertyType
from properties.shapes import PLAN, CountedValue, Group, Shape
from properties.spellings import spelt_like
from properties.text import UNSPECIFIED, normal_form, shown
from properties.transition.models import LegacyProperty, LegacyPropertyImage
from rollout import shadow
from rollout.lookups import lookup_id
from rollout.modes import Modes, current_modes


@contextmanager
def current_shape(*, using: str) -> Iterator[ShapeInForce]:
    """A transaction during which the shape does not change under the caller."""
    with current_modes(PLAN, using=using) as modes:
        yield _shape(modes, using)


def _shape(modes: Modes, using: str) -> ShapeInForce:
    return (TextShape if modes.read == "legacy" else NewShape)(using, modes)


def offer_shadow_read(
    operation: str, shape: ShapeInForce, read: Callable[[Shape], Sequence[Listing]]
) -> None:
    """Offer what was read to be read by the other shape too, and compared."""
    shadow.offer(
        operation,
        plan=PLAN,
        table="properties",
        modes=shape.modes,
        using=shape.using,
        read=lambda modes: {
            listing.id: {
                "title": listing.title,
                "property_type_id": listing.type,
                "property_status_id": listing.status,
            }
            for listing in read(_shape(modes, shape.using))
        },
    )


@dataclass(frozen=True)
class NewShape(Shape):
    """The shape after the cutover, and before the materialized view of phase 4."""

    modes: Modes

    def groups(self) -> Iterable[Group]:
        return super().groups() if "listing_counts" in self.modes.features else self._counted()

    def estimates(self) -> list[list[CountedValue]] | None:
        if "listing_counts" in self.modes.features:
            return None
        columns = facet_estimates.read(self.using, "property_type_id", "property_status_id")
        if columns is None:
            return None
        return [
            [
                (value.text, names.get(int(value.text or 0), UNSPECIFIED), value.rows)
                for value in column
            ]
            for column, names in zip(columns, self._names(), strict=True)
        ]

    def _names(self) -> list[dict[int, str]]:
        """The names of types and of statuses, by id."""
        return [
            dict(model._default_manager.using(self.using).values_list("id", "name"))
            for model in (PropertyType, PropertyStatus)
        ]

    def _counted(self) -> Iterable[Group]:
        types, statuses = self._names()
        keys = self.plain_properties().values_list("property_type_id", "property_status_id")
        for type_id, status_id, count in keys.annotate(listings=Count("*")):
            label = types.get(type_id, UNSPECIFIED)
            yield type_id, label, status_id, statuses.get(status_id, UNSPECIFIED), count


@dataclass(frozen=True)
class TextShape(Shape):
    """Type and status are read and written as text; triggers fill in what is new beside them."""

    modes: Modes

    def plain_properties(self) -> QuerySet[Any]:
        model = self.modes.model_of(LegacyProperty, Property)
        return model._default_manager.using(self.using)

    def images(self) -> QuerySet[Any]:
        model = self.modes.model_of(LegacyPropertyImage, PropertyImage)
        return model._default_manager.using(self.using)

    def having(self, rows: QuerySet[Any], name: str, text: str) -> QuerySet[Any]:
        return rows.filter(spelt_like(name, text, using=self.using))

    def classification(
        self, texts: Mapping[str, str | None], *, created_at: datetime
    ) -> dict[str, Any]:
        if self.has_lookup_rows:
            # A trigger does not wait for another transaction that makes the row of the same new
            # text, and leaves the key empty: this waits.
            for name, text in texts.items():
                lookup_id(PLAN, f"properties.{name}", text, using=self.using)
        return dict(texts)

    def meaning(self, name: str, text: str) -> str:
        return " ".join(text.split())

    @property
    def has_lookup_rows(self) -> bool:
        return self.modes.write != "legacy"

    def lookup_names(self, name: str) -> set[str]:
        return super().lookup_names(name) if self.has_lookup_rows else set()

    def known_row(self, name: str, text: str) -> int | None:
        return super().known_row(name, text) if self.has_lookup_rows else None

    def lookup_row(self, name: str, property_id: UUID) -> int | None:
        return super().lookup_row(name, property_id) if self.has_lookup_rows else None

    def new_property_defaults(self) -> dict[str, Any]:
        return {}

    def image_facts(self, **facts: object) -> dict[str, Any]:
        # No trigger looks into a file.
        return facts if self.has_lookup_rows else {}

    def groups(self) -> Iterable[Group]:
        # Min() of the text that a group shares is that text: so each distinct spelling is
        # normalised once, after grouping, and not once for every row.
        groups: Iterable[Group] = (
            self.plain_properties()
            .values("type", "status")
            .annotate(
                listings=Count("*"),
                type_form=normal_form(Min("type")),
                type_label=shown(Min("type")),
                status_form=normal_form(Min("status")),
                status_label=shown(Min("status")),
            )
            .values_list("type_form", "type_label", "status_form", "status_label", "listings")
        )
        return groups

    def estimates(self) -> list[list[CountedValue]] | None:
        columns = facet_estimates.read(self.using, "type", "status")
        if columns is None:
            return None
        return [[(value.form, value.label, value.rows) for value in column] for column in columns]

    def shown(self, name: str) -> Combinable:
        return shown(F(name))


ShapeInForce = TextShape | NewShape


def insert_texts(cursor: CursorWrapper, names: Mapping[str, sql.Composable]) -> int:
    """Insert listings that arrived, as text: what else a row needs the triggers fill in."""
    cursor.execute(
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {arrived}"
            " ON CONFLICT (id) DO NOTHING"
        ).format(**names)
    )
    inserted: int = cursor.rowcount
    return inserted
