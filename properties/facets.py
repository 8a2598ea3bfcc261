"""How many listings there are of each type and of each status."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from properties.listings import Facet, Facets
from properties.shapes import Shape


def count_facets(shape: Shape) -> Facets:
    """Both facets from the materialized view, from a large table's statistics, or from one pass."""
    if estimates := shape.estimates():
        types, statuses = (_fold(values) for values in estimates)
        return Facets(types=types, statuses=statuses, estimated=True)
    groups = list(shape.groups())
    return Facets(
        types=_fold((key, label, count) for key, label, _, _, count in groups),
        statuses=_fold((key, label, count) for _, _, key, label, count in groups),
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
