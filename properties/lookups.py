"""Lookup rows: found by the normal form of their name, made when a new value turns up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from django.db.models import F

from properties.models import PropertyStatus, PropertyType
from properties.text import given, normal_form, shown

Lookup = TypeVar("Lookup", PropertyType, PropertyStatus)


class LookupRowMissing(Exception):
    """A lookup row that was just made cannot be read back."""


@dataclass(frozen=True)
class LookupRow:
    """``form`` is the normal form of the row's name."""

    id: int
    form: str


def lookup_row(lookup: type[Lookup], text: str | None, *, using: str) -> LookupRow:
    """The row that ``text`` means, created under the tidy spelling of ``text`` if there is none.

    The triggers in the database do the same. Where two writers bring the same new value at once,
    one INSERT gives way and both then read the row that won.
    """
    found = _find(lookup, text, using=using)
    if found is None:
        lookup.objects.using(using).bulk_create(
            [lookup(name=shown(given(text)))], ignore_conflicts=True
        )
        found = _find(lookup, text, using=using)
    if found is None:
        raise LookupRowMissing(f"no row of {lookup._meta.db_table} means {text!r}")
    return found


def lookup_ids(lookup: type[Lookup], text: str, *, using: str) -> list[int]:
    """The ids of every row that ``text`` means: none when nobody has used the value."""
    rows = lookup.objects.using(using).alias(form=normal_form(F("name")))
    return list(rows.filter(form=normal_form(given(text))).values_list("id", flat=True))


def _find(lookup: type[Lookup], text: str | None, *, using: str) -> LookupRow | None:
    rows = lookup.objects.using(using).annotate(form=normal_form(F("name")))
    found = rows.filter(form=normal_form(given(text))).order_by("id").values_list("id", "form")
    return next((LookupRow(*row) for row in found[:1]), None)
