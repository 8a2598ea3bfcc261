"""The gate about people's review of the mapping."""

from collections.abc import Hashable, Iterable
from datetime import datetime, timedelta

from rollout.engine.mapping import ReviewCounts, review_counts_of
from rollout.engine.target import Connection
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, passed, pending, unknown
from rollout.journal.environments import is_protected
from rollout.journal.moments import duration, in_words
from rollout.models import Rollout
from rollout.plan.gates import MappingReviewed
from rollout.plan.plan import BACKFILL, ENFORCE, Plan
from rollout.plan.translations import Lookup


@check(MappingReviewed)
def mapping_reviewed(gate: MappingReviewed, evidence: Evidence) -> GateResult:
    by_lookup = review_counts(
        evidence.rollout, evidence.plan, gate, evidence.facts.newest_mapping_change
    )
    if isinstance(by_lookup, str):
        return unknown("check_database", f"The mapping could not be read: {by_lookup}")
    if by_lookup is None:
        return pending(
            "start_phase", f"Phase {BACKFILL} has not mapped the values. Start it first."
        )
    counts = _total(by_lookup.values())
    reviewed = f"{counts.reviewed:,} of {counts.values:,} values reviewed"
    may_wait = f"{counts.recent:,} new may wait, younger than {duration(gate.grace)}"
    if due := counts.open - counts.recent:
        parts = f"{due:,} to confirm or map, {may_wait}" if counts.recent else "confirm or map them"
        return pending(
            "review_mapping",
            f"{reviewed}; {counts.open:,} open: {parts}.",
            progress=counts.reviewed / counts.values,
        )
    if counts.recent:
        return passed(f"{reviewed}; {counts.open:,} open: {may_wait}.")
    last = f", last at {in_words(counts.reviewed_at)}" if counts.reviewed_at else ""
    return passed(f"{reviewed}{last}.")


def review_gate(rollout: Rollout, plan: Plan) -> MappingReviewed | None:
    """The gate that waits for the review; None where the plan has none."""
    gates = plan.gates_of(ENFORCE, protected=is_protected(rollout.environment))
    return next((gate for gate in gates if isinstance(gate, MappingReviewed)), None)


def review_counts(
    rollout: Rollout, plan: Plan, gate: MappingReviewed | None, newest_change: Hashable
) -> dict[Lookup, ReviewCounts] | str | None:
    """Review counts of each lookup, or why they could not be read; None if one is unmapped.

    Whoever asks within a moment is told the same, so that a page's tab and its gate agree. After
    another ``newest_change`` of the mapping they are counted again.
    """
    grace = timedelta() if gate is None else gate.grace
    return cached_query(
        rollout,
        *("review counts", grace, plan.digest, newest_change),
        query=lambda connection: _counts(connection, plan, grace),
    )


def _counts(
    connection: Connection, plan: Plan, grace: timedelta
) -> dict[Lookup, ReviewCounts] | None:
    counts = {}
    for lookup in plan.lookups:
        of_lookup = review_counts_of(connection, plan, lookup, grace=grace)
        if of_lookup is None:
            return None
        counts[lookup] = of_lookup
    return counts


def _total(counts: Iterable[ReviewCounts]) -> ReviewCounts:
    total = ReviewCounts(0, 0, None)
    for of_lookup in counts:
        total = ReviewCounts(
            total.values + of_lookup.values,
            total.reviewed + of_lookup.reviewed,
            _later(total.reviewed_at, of_lookup.reviewed_at),
            total.new + of_lookup.new,
            total.recent + of_lookup.recent,
        )
    return total


def _later(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)
