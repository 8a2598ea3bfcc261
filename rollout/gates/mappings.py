"""The gate about people's review of the mapping."""

from datetime import datetime, timedelta

from rollout.engine.mapping import ReviewCounts, review_counts_of
from rollout.engine.target import Connection
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, passed, pending, unknown
from rollout.journal.moments import duration, in_words
from rollout.plan.gates import MappingReviewed
from rollout.plan.plan import BACKFILL, Plan


@check(MappingReviewed)
def mapping_reviewed(gate: MappingReviewed, evidence: Evidence) -> GateResult:
    plan = evidence.plan
    counts = cached_query(
        evidence.rollout,
        *("mapping reviewed", gate, plan.digest, evidence.facts.newest_mapping_change),
        query=lambda connection: _counts(connection, plan, gate.grace),
    )
    if isinstance(counts, str):
        return unknown("check_database", f"The mapping could not be read: {counts}")
    if counts is None:
        return pending(
            "start_phase", f"Phase {BACKFILL} has not mapped the values. Start it first."
        )
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


def _counts(connection: Connection, plan: Plan, grace: timedelta) -> ReviewCounts | None:
    """Review counts of all lookups, added up; None if one is unmapped."""
    total = ReviewCounts(0, 0, None)
    for lookup in plan.lookups:
        counts = review_counts_of(connection, plan, lookup, grace=grace)
        if counts is None:
            return None
        total = ReviewCounts(
            total.values + counts.values,
            total.reviewed + counts.reviewed,
            _later(total.reviewed_at, counts.reviewed_at),
            total.new + counts.new,
            total.recent + counts.recent,
        )
    return total


def _later(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)
