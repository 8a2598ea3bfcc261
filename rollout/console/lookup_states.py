"""The lookups of a rollout: how far the review of each is, and what is new in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from django.http import Http404

from rollout.engine import mapping
from rollout.engine.mapping import NewText, ReviewCounts
from rollout.engine.target import reason_of
from rollout.journal.environments import target_of
from rollout.models import MappingChange, Rollout
from rollout.plan import plans
from rollout.plan.translations import Lookup


@dataclass(frozen=True)
class LookupState:
    """A lookup in the list of a rollout's."""

    lookup: Lookup
    last: MappingChange | None
    counts: ReviewCounts | None = None
    """None where nothing is mapped yet."""
    new: int = 0
    newest: Sequence[NewText] = ()
    error: str = ""
    kept: int = 0
    """Decisions that phase 2 will follow; of a lookup that is not mapped."""


def lookup_or_404(rollout: Rollout, table: str, column: str) -> Lookup:
    lookups = plans.get(rollout.plan).lookups
    for lookup in lookups:
        if (lookup.table.label, lookup.legacy) == (table, column):
            return lookup
    known = ", ".join(f"{x.table.label}.{x.legacy}" for x in lookups) or "none"
    raise Http404(f"The plan has no lookup of {table}.{column}. Its lookups: {known}.")


def lookup_states(rollout: Rollout) -> list[LookupState]:
    last: dict[tuple[str, str], MappingChange] = {}
    for change in MappingChange.objects.filter(rollout=rollout).order_by("id").defer("changes"):
        last[change.table, change.legacy_column] = change
    states = []
    for lookup in plans.get(rollout.plan).lookups:
        changed = last.get((lookup.table.label, lookup.legacy))
        try:
            progress = review_progress_of(rollout, lookup)
            kept = 0 if progress[0] else _kept(rollout, lookup)
            states.append(LookupState(lookup, changed, *progress, kept=kept))
        except psycopg.Error as problem:
            states.append(LookupState(lookup, changed, error=reason_of(problem)))
    return states


def _kept(rollout: Rollout, lookup: Lookup) -> int:
    with target_of(rollout.environment).connect_briefly(5) as connection:
        return mapping.decisions_kept(connection, plans.get(rollout.plan), lookup)


def first_open(states: Sequence[LookupState]) -> Lookup | None:
    return next((s.lookup for s in states if s.counts is not None and s.counts.open), None)


def review_progress_of(
    rollout: Rollout, lookup: Lookup
) -> tuple[ReviewCounts | None, int, list[NewText]]:
    plan = plans.get(rollout.plan)
    with target_of(rollout.environment).connect_briefly(5) as connection:
        counts = mapping.review_counts_of(connection, plan, lookup)
        new_texts = mapping.new_texts(connection, plan, lookup)
    return counts, *(new_texts or (0, []))
