"""The lookups of a rollout: how far the review of each is, and what is new in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import psycopg

from rollout.console.mapping_counts import reviewed_within
from rollout.engine import mapping
from rollout.engine.mapping import ReviewCounts
from rollout.engine.target import Connection, reason_of
from rollout.engine.value_decisions import Undecided, undecided_values
from rollout.gates.phase_states import is_done, newest_runs
from rollout.journal.environments import target_of
from rollout.models import MappingChange, Rollout
from rollout.plan import plans
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.translations import Lookup

# A page waits no longer for what it says of a lookup.
LOOKUP_SECONDS = 5
# The list of lookups waits no longer for the values of one that is not mapped to be counted.
LIST_SECONDS = 2


@dataclass(frozen=True)
class LookupState:
    """A lookup in the list of a rollout's."""

    lookup: Lookup
    last: MappingChange | None
    counts: ReviewCounts | None = None
    """None where nothing is mapped yet and counting the table's values takes too long."""
    is_mapped: bool = False
    error: str = ""
    is_archived: bool = False
    """Whether phase 4 has dropped the column of the values."""


def lookup_states(rollout: Rollout) -> list[LookupState]:
    last, plan = _last_changes(rollout), plans.get(rollout.plan)

    def changed(lookup: Lookup) -> MappingChange | None:
        return last.get((lookup.table.label, lookup.legacy))

    try:
        with target_of(rollout.environment).connect_briefly(LOOKUP_SECONDS) as connection:
            states = [
                _state_of(connection, rollout, plan, lookup, changed(lookup))
                for lookup in plan.lookups
            ]
        if any(state.error for state in states) and _is_archived(rollout):
            return [replace(state, is_archived=True) for state in states]
        return states
    except psycopg.Error as problem:
        error = reason_of(problem)
        return [LookupState(lookup, changed(lookup), error=error) for lookup in plan.lookups]


def _is_archived(rollout: Rollout) -> bool:
    return is_done(newest_runs(rollout).get(CONTRACT))


def _last_changes(rollout: Rollout) -> dict[tuple[str, str], MappingChange]:
    """The newest decisions about each table's legacy columns."""
    changes = MappingChange.objects.filter(rollout=rollout).order_by("id").defer("changes")
    return {(change.table, change.legacy_column): change for change in changes}


def _state_of(
    connection: Connection,
    rollout: Rollout,
    plan: Plan,
    lookup: Lookup,
    changed: MappingChange | None,
) -> LookupState:
    try:
        counts = mapping.review_counts_of(connection, plan, lookup)
        if counts is not None:
            return LookupState(lookup, changed, counts, is_mapped=True)
        # What people decide before phase 2, or decided before its rollback, phase 2 will follow.
        review = reviewed_within(LIST_SECONDS, connection, rollout, lookup)
        if review is not None:
            counts = ReviewCounts(review.reviewable, review.reviewed, None)
        return LookupState(lookup, changed, counts)
    except psycopg.Error as problem:
        return LookupState(lookup, changed, error=reason_of(problem))


@dataclass(frozen=True)
class ConversionState:
    """A conversion in the same list, and the values that wait for people; None before phase 2."""

    conversion: Conversion
    last: MappingChange | None
    waiting: Undecided | None = None
    error: str = ""
    is_archived: bool = False

    @property
    def is_of_keys(self) -> bool:
        return isinstance(self.conversion, Extract)


def conversion_states(rollout: Rollout) -> list[ConversionState]:
    plan = plans.get(rollout.plan)
    changes = _last_changes(rollout) if plan.reviewed_conversions else {}
    states: list[ConversionState] = []
    for conversion in plan.reviewed_conversions:
        last = changes.get((conversion.table.label, ", ".join(conversion.decided_about)))
        try:
            with target_of(rollout.environment).connect_briefly(LOOKUP_SECONDS) as connection:
                waiting = undecided_values(connection, plan, conversion)
                is_archived = waiting is None and _is_archived(rollout)
                states.append(ConversionState(conversion, last, waiting, is_archived=is_archived))
        except psycopg.Error as problem:
            states.append(ConversionState(conversion, last, error=reason_of(problem)))
    return states


def open_now(states: Iterable[LookupState]) -> dict[tuple[str, str], int]:
    """How many values of each mapping that is in use are open, by its table and legacy column."""
    return {
        (state.lookup.table.label, state.lookup.legacy): state.counts.open
        for state in states
        if state.is_mapped and state.counts is not None
    }


def first_open(states: Sequence[LookupState]) -> Lookup | None:
    return next((s.lookup for s in states if s.counts is not None and s.counts.open), None)
