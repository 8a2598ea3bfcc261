"""Decisions about values that do not convert, and about keys in conflict."""

from collections.abc import Mapping
from typing import Any

from rollout.engine import value_decisions
from rollout.engine.value_decisions import (
    CannotDecideValues,
    Decision,
    DecisionsLocked,
    functions_exist,
    unconvertible_values,
)
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.rollouts import alone_with, plan_of
from rollout.logs.texts import counted
from rollout.models import MappingChange, Rollout
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.runner.mappings import refusal_to_review

_CHANGES_LOGGED = 50


def decide_values(
    rollout: Rollout,
    conversion: Conversion,
    decisions: Mapping[str, Decision],
    *,
    actor: Actor,
    source: str = "web",
) -> MappingChange:
    """Decide, by source, what values become. Raises Refused, CannotDecideValues, psycopg.Error.

    The target commits before the journal, as with a mapping review.
    """
    plan = plan_of(rollout)
    with alone_with(rollout):
        if refusal := refusal_to_review(rollout):
            raise Refused(refusal)
        if not decisions:
            raise Refused("No value is decided. Enter what a value is to become first.")
        with target_of(rollout.environment).connect() as connection:
            known = {v.source: v for v in unconvertible_values(connection, plan, conversion)}
            if gone := [source for source in decisions if source not in known]:
                raise Refused(
                    f"{counted(len(gone), 'value')} of these converts by now, or is gone. Open the "
                    "page again."
                )
            is_filled = functions_exist(connection, plan, conversion)
            # The row of a key holds what is decided at once; no row of the table changes.
            follows = is_filled and not isinstance(conversion, Extract)
            try:
                changed = value_decisions.decide_values(
                    connection, plan, conversion, decisions, reviewer=actor.get_username()
                )
            except DecisionsLocked as error:
                raise Refused(str(error)) from error
        if not changed:
            raise Refused("No changes: every value has this decision already.")
        rows = sum(known[source].rows for source in changed)
        # Rows of a value that nobody had decided on are empty: left so, they need no update.
        moved = {
            source: follows and _filled(before) != _filled(after)
            for source, (before, after) in changed.items()
        }
        change = MappingChange.objects.create(
            rollout=rollout,
            table=conversion.table.label,
            legacy_column=", ".join(conversion.decided_about),
            reviewer=actor.get_username(),
            at=by_the_database(),
            changes=[
                {
                    "legacy": known[source].text,
                    "before": shown(before),
                    "after": shown(after),
                    "rows": known[source].rows,
                    "moved": moved[source],
                    "unmapped": before is None,
                }
                for source, (before, after) in changed.items()
            ],
            mapped=is_filled,
            rows_affected=sum(known[source].rows for source in changed if moved[source]),
            rows_changed=rows,
        )
        _record(change, conversion, source)
    return change


def shown(decision: Decision) -> str | None:
    """What a value becomes, for people; None where nobody decides or it stays empty."""
    values = [value for value in (decision or {}).values() if value is not None]
    return ", ".join(values) if values else None


def _filled(decision: Decision) -> dict[str, str]:
    """The values that rows hold by a decision; empty where nobody decides or they stay empty."""
    return {column: value for column, value in (decision or {}).items() if value is not None}


def _record(change: MappingChange, conversion: Conversion, source: str) -> None:
    data: dict[str, Any] = {
        "columns": list(conversion.added),
        "changes": change.changes[:_CHANGES_LOGGED],
        "changes_in_total": len(change.changes),
    }
    message = (
        f"Decided about {counted(len(change.changes), 'value')} of {change.table}."
        f"{change.legacy_column} without a conversion to {conversion.name}. "
        f"{counted(change.rows_affected or 0, 'existing row')} to update."
    )
    if isinstance(conversion, Extract):
        message = (
            f"Decided about {counted(len(change.changes), 'key')} ({change.legacy_column}) of "
            f"{change.table} with several groups of values."
        )
    activity_log.record(
        Event.VALUES_DECIDED,
        message,
        on=change,
        actor=change.reviewer,
        source=source,
        **data,
    )


__all__ = ["CannotDecideValues", "decide_values", "shown"]
