"""How many listings there are of each type and of each status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from django.db.models import Count, F, Min, Sum

from properties.listings import Facet, Facets
from properties.models import PropertyListingCount, PropertyStatus, PropertyType
from properties.shapes import Shape
from properties.text import UNSPECIFIED, normal_form, shown

# One counted group: what tells a type from others, its label, the same for status, listings.
Group = tuple[object, str, object, str, int]


def count_facets(shape: Shape) -> Facets:
    """Both facets from one pass over the table, or from the materialized view if there is one."""
    if "listing_counts" in shape.modes.features:
        groups = _groups_from_view(shape)
    elif shape.reads_text:
        groups = _groups_from_text(shape)
    else:
        groups = _groups_from_lookups(shape)
    groups = list(groups)
    return Facets(
        types=_fold((key, label, count) for key, label, _, _, count in groups),
        statuses=_fold((key, label, count) for _, _, key, label, count in groups),
    )


def _groups_from_text(shape: Shape) -> Iterable[Group]:
    # Min() of the text that a group shares is that text: so each distinct spelling is normalised
    # once, after grouping, and not once for every row.
    rows = shape.plain_properties().values("type", "status")
    groups: Iterable[Group] = rows.annotate(
        listings=Count("*"),
        type_form=normal_form(Min("type")),
        type_label=shown(Min("type")),
        status_form=normal_form(Min("status")),
        status_label=shown(Min("status")),
    ).values_list("type_form", "type_label", "status_form", "status_label", "listings")
    return groups


def _groups_from_lookups(shape: Shape) -> Iterable[Group]:
    types = dict(PropertyType.objects.using(shape.using).values_list("id", "name"))
    statuses = dict(PropertyStatus.objects.using(shape.using).values_list("id", "name"))
    groups = shape.plain_properties().values_list("property_type_id", "property_status_id")
    for type_id, status_id, count in groups.annotate(listings=Count("*")):
        yield (
            type_id,
            types.get(type_id, UNSPECIFIED),
            status_id,
            statuses.get(status_id, UNSPECIFIED),
            count,
        )


def _groups_from_view(shape: Shape) -> Iterable[Group]:
    rows = PropertyListingCount.objects.using(shape.using).values("type", "status")
    return rows.annotate(total=Sum("listings")).values_list(
        F("type"), F("type"), F("status"), F("status"), "total"
    )


def _fold(groups: Iterable[tuple[object, str, int]]) -> tuple[Facet, ...]:
    """One facet for each key, under its most frequent label; the largest first."""
    labels: defaultdict[object, Counter[str]] = defaultdict(Counter)
    for key, label, count in groups:
        labels[key][label] += count
    facets = [
        Facet(max(counts, key=lambda label: (counts[label], label)), counts.total())
        for counts in labels.values()
    ]
    return tuple(sorted(facets, key=lambda facet: (-facet.count, facet.label)))
