"""The gate about values that do not convert, and keys in conflict."""

from collections.abc import Callable, Hashable

from psycopg import errors

from rollout.engine.target import Connection, limit
from rollout.engine.value_decisions import Undecided, unconvertible_values, undecided_values
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, passed, pending, unknown
from rollout.logs.texts import counted
from rollout.models import Rollout
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.plan.gates import ValuesDecided
from rollout.plan.plan import BACKFILL, Plan

# How many values that do not convert and keys in conflict wait for people, and how many rows;
# ``TOO_MANY_ROWS`` where the rows took too long to read.
ValuesWaiting = tuple[int, int, int]
TOO_MANY_ROWS = (-1, -1, -1)


@check(ValuesDecided)
def values_decided(gate: ValuesDecided, evidence: Evidence) -> GateResult:
    newest = evidence.facts.newest_mapping_change
    waiting = values_waiting(evidence.rollout, evidence.plan, newest)
    if isinstance(waiting, str):
        return unknown("check_database", f"The values could not be read: {waiting}")
    if waiting is None:
        return pending("start_phase", f"Phase {BACKFILL} has not converted values. Start it first.")
    if waiting == TOO_MANY_ROWS:
        return _by_audit(evidence)
    if what := _in_words(waiting):
        return pending("decide_values", f"{what}. Decide about each.")
    return passed("No value waits for a decision.")


def _in_words(waiting: ValuesWaiting) -> str:
    """``2 values do not convert, in 3 rows``; empty where nothing waits."""
    values, keys, rows = waiting
    what = [f"{counted(values, 'value', 'do')} not convert"] if values else []
    if keys:
        what.append(f"{counted(keys, 'key', 'have')} several groups of values")
    return f"{' and '.join(what)}, in {counted(rows, 'row')}" if rows else ""


def undecided(evidence: Evidence) -> str | None:
    """What the audit of phase 2 would fail for, before that phase too: ``2 values do not convert,
    in 3 rows``. Empty where nothing waits, None where that is not known.
    """
    rollout, plan = evidence.rollout, evidence.plan
    newest = evidence.facts.newest_mapping_change
    waiting = values_waiting(rollout, plan, newest)
    if waiting is None:
        waiting = cached_query(
            rollout,
            *("values to come", plan.digest, newest),
            query=lambda connection: _waiting(connection, plan, 3, of=_to_come),
        )
    if waiting is None or isinstance(waiting, str) or waiting == TOO_MANY_ROWS:
        return None
    return _in_words(waiting)


def _by_audit(evidence: Evidence) -> GateResult:
    """What the newest full audit says, where the rows are too many to ask at once."""
    report = evidence.facts.full_audit
    if report is None:
        return pending("start_audit", "Too many rows to read at once. Start a full audit.")
    if rows := report.categories.get("undecided", 0):
        return pending(
            "decide_values",
            f"Values of {counted(rows, 'row')} wait for a decision, by audit {report.pk}. Decide "
            "about each.",
        )
    return passed(f"No value waits for a decision, by audit {report.pk}.")


def values_waiting(
    rollout: Rollout, plan: Plan, newest_change: Hashable, *, seconds: int = 3
) -> ValuesWaiting | str | None:
    """How many values and keys wait, or why that is not known; None where one is not at work yet.

    Whoever asks within a moment is told the same, as in ``rollout.gates.mappings``.
    """
    return cached_query(
        rollout,
        *("values decided", plan.digest, newest_change, seconds),
        query=lambda connection: _waiting(connection, plan, seconds),
    )


def _waiting(
    connection: Connection,
    plan: Plan,
    seconds: int,
    *,
    of: Callable[[Connection, Plan, Conversion], Undecided | None] = undecided_values,
) -> ValuesWaiting | None:
    """Over all conversions; None where one is not at work yet."""
    limit(connection, seconds)
    values = keys = rows = 0
    for conversion in plan.reviewed_conversions:
        try:
            left = of(connection, plan, conversion)
        except errors.QueryCanceled:
            return TOO_MANY_ROWS
        if left is None:
            return None
        rows += left.rows
        if isinstance(conversion, Extract):
            keys += left.values
        else:
            values += left.values
    return values, keys, rows


def _to_come(connection: Connection, plan: Plan, conversion: Conversion) -> Undecided:
    """What will wait once phase 2 has converted the others: each value is tried."""
    listed = unconvertible_values(connection, plan, conversion)
    left = [value for value in listed if value.is_open]
    return Undecided(len(left), sum(value.rows for value in left), example="")
