"""The lookups of a rollout: how far the review of each is, and what is new in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from django.http import Http404

from rollout.engine import mapping
from rollout.engine.mapping import NewText, ReviewCounts
from rollout.engine.target import Connection, reason_of
from rollout.journal.environments import target_of
from rollout.models import MappingChange, Rollout
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

# A page waits no longer for what it says of a lookup.
SECONDS = 5


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
    plan = plans.get(rollout.plan)

    def changed(lookup: Lookup) -> MappingChange | None:
        return last.get((lookup.table.label, lookup.legacy))

    try:
        with target_of(rollout.environment).connect_briefly(SECONDS) as connection:
            return [_state_of(connection, plan, lookup, changed(lookup)) for lookup in plan.lookups]
    except psycopg.Error as problem:
        error = reason_of(problem)
        return [LookupState(lookup, changed(lookup), error=error) for lookup in plan.lookups]


def _state_of(
    connection: Connection, plan: Plan, lookup: Lookup, changed: MappingChange | None
) -> LookupState:
    try:
        progress = review_progress_of(connection, plan, lookup)
        kept = 0 if progress[0] else mapping.decisions_kept(connection, plan, lookup)
    except psycopg.Error as problem:
        return LookupState(lookup, changed, error=reason_of(problem))
    return LookupState(lookup, changed, *progress, kept=kept)


def first_open(states: Sequence[LookupState]) -> Lookup | None:
    return next((s.lookup for s in states if s.counts is not None and s.counts.open), None)


def review_progress_of(
    connection: Connection, plan: Plan, lookup: Lookup
) -> tuple[ReviewCounts | None, int, list[NewText]]:
    counts = mapping.review_counts_of(connection, plan, lookup)
    new_texts = mapping.new_texts(connection, plan, lookup)
    return counts, *(new_texts or (0, []))
