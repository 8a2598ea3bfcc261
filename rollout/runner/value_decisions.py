"""Decisions about values that do not convert, and about keys in conflict."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.engine import value_decisions
from rollout.engine.target import Connection
from rollout.engine.value_decisions import (
    CannotDecideValues,
    Decision,
    DecisionsLocked,
    UnconvertibleValue,
    functions_exist,
    unconvertible_values,
)
from rollout.engine.value_previews import Texts, as_legacy
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


@dataclass(frozen=True)
class DecisionChange:
    """A value that is decided about otherwise from then on.

    ``moved`` is whether filled rows must follow; ``reads_as``, by legacy column, what who reads it
    sees of a decided value.
    """

    value: UnconvertibleValue
    before: Decision
    after: Decision
    moved: bool
    reads_as: Texts


@dataclass(frozen=True)
class DecisionsPreview:
    """What decisions would change now; or why they cannot be applied.

    ``problems`` says by source and column what is wrong with a decision, ``refusal`` what stands
    against any. ``seen`` is the digest of what is shown here: ``decide_values`` takes it, and
    refuses when something else would come of the same decisions by then.
    """

    changes: list[DecisionChange] = field(default_factory=list)
    is_filled: bool = False
    """Whether phase 2 has begun, so that the application's writes follow at once."""
    problems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refusal: str = ""

    @property
    def rows(self) -> int:
        """Rows whose values mean something else from then on, filled or not."""
        return sum(change.value.rows for change in self.changes)

    @property
    def rows_to_fill(self) -> int:
        """Rows that phase 2 will fill by them: none of values that are undecided again."""
        return sum(c.value.rows for c in self.changes if c.after is not None)

    @property
    def rows_affected(self) -> int:
        """Filled rows that hold something else than is decided from then on."""
        return sum(change.value.rows for change in self.changes if change.moved)

    @property
    def seen(self) -> str:
        """Of everything but the numbers of rows, which change meanwhile."""
        shown_here = [(c.value.source, c.before, c.after, c.moved) for c in self.changes]
        content = json.dumps([self.is_filled, shown_here], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def preview_decisions(
    rollout: Rollout, conversion: Conversion, decisions: Mapping[str, Decision], *, actor: Actor
) -> DecisionsPreview:
    """What ``decide_values`` would change now; changes nothing. Raises psycopg.Error."""
    if refusal := refusal_to_review(rollout):
        return DecisionsPreview(refusal=refusal)
    try:
        with target_of(rollout.environment).connect() as connection:
            return _Decisions(connection, rollout, conversion, decisions, actor).apply(keep=False)
    except CannotDecideValues as error:
        return DecisionsPreview(problems=error.problems)
    except Refused as error:
        return DecisionsPreview(refusal=str(error))


def decide_values(
    rollout: Rollout,
    conversion: Conversion,
    decisions: Mapping[str, Decision],
    *,
    actor: Actor,
    seen: str | None = None,
    source: str = "web",
) -> MappingChange:
    """Decide, by source, what values become. Raises Refused, CannotDecideValues, psycopg.Error.

    ``seen`` is the digest of the preview that the actor has read; None skips the check.
    The target commits before the journal, as with a mapping review.
    """
    with alone_with(rollout):
        if refusal := refusal_to_review(rollout):
            raise Refused(refusal)
        if not decisions:
            raise Refused("No value is decided. Enter what a value is to become first.")
        with target_of(rollout.environment).connect() as connection:
            wanted = _Decisions(connection, rollout, conversion, decisions, actor)
            preview = wanted.apply(keep=False)
            if not preview.changes:
                raise Refused("No changes: every value has this decision already.")
            if seen is not None and seen != preview.seen:
                raise Refused(
                    "The values or the decisions changed since your preview. Preview them again."
                )
            outcome = wanted.apply(keep=True)
        change = MappingChange.objects.create(
            rollout=rollout,
            table=conversion.table.label,
            legacy_column=", ".join(conversion.decided_about),
            reviewer=actor.get_username(),
            at=by_the_database(),
            changes=[
                {
                    "legacy": decided.value.text,
                    "before": shown(decided.before),
                    "after": shown(decided.after),
                    "rows": decided.value.rows,
                    "moved": decided.moved,
                    "unmapped": decided.before is None,
                    "taken_back": decided.after is None,
                }
                for decided in outcome.changes
            ],
            mapped=outcome.is_filled,
            rows_affected=outcome.rows_affected,
            rows_changed=outcome.rows,
        )
        _record(change, conversion, source)
    return change


class _Decisions:
    """Decisions about the values that do not convert at present. Raises Refused."""

    def __init__(
        self,
        connection: Connection,
        rollout: Rollout,
        conversion: Conversion,
        decisions: Mapping[str, Decision],
        actor: Actor,
    ) -> None:
        self.connection = connection
        self.plan = plan_of(rollout)
        self.conversion = conversion
        self.decisions = decisions
        self.reviewer = actor.get_username()
        listed = unconvertible_values(connection, self.plan, conversion)
        self.values = {value.source: value for value in listed}
        if gone := [source for source in decisions if source not in self.values]:
            raise Refused(
                f"{counted(len(gone), 'value')} of these converts by now, or is gone. Open the "
                "page again."
            )

    def apply(self, *, keep: bool) -> DecisionsPreview:
        """What changes; without ``keep``, what would. Raises CannotDecideValues, psycopg.Error."""
        connection, plan, conversion = self.connection, self.plan, self.conversion
        is_filled = functions_exist(connection, plan, conversion)
        # The row of a key holds what is decided at once; no row of the table changes.
        follows = is_filled and not isinstance(conversion, Extract)
        try:
            changed = value_decisions.decide_values(
                *(connection, plan, conversion, self.decisions),
                reviewer=self.reviewer,
                keep=keep,
            )
        except DecisionsLocked as error:
            raise Refused(str(error)) from error
        given = {
            source: after for source, (_, after) in changed.items() if after and _filled(after)
        }
        reads_as = as_legacy(connection, conversion, given)
        return DecisionsPreview(
            changes=[
                DecisionChange(
                    self.values[source],
                    before,
                    after,
                    # Rows of a value that nobody had decided on are empty: left so, they need no
                    # update.
                    follows and _filled(before) != _filled(after),
                    reads_as.get(source, {}),
                )
                for source, (before, after) in changed.items()
            ],
            is_filled=is_filled,
        )


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
        f"{_what(change, 'value')} of {change.table}.{change.legacy_column} without a conversion "
        f"to {conversion.name}. "
        f"{counted(change.rows_affected, 'existing row') if change.rows_affected else 'No rows'} "
        "to update."
    )
    if isinstance(conversion, Extract):
        message = (
            f"{_what(change, 'key')} ({change.legacy_column}) of {change.table} with several "
            "groups of values."
        )
    activity_log.record(
        Event.VALUES_DECIDED,
        message,
        on=change,
        actor=change.reviewer,
        source=source,
        **data,
    )


def _what(change: MappingChange, noun: str) -> str:
    """``Decided about 2 values and took back the decision about 1 value``."""
    back = change.taken_back
    made = len(change.changes) - back
    parts = [f"decided about {counted(made, noun)}"] if made else []
    if back:
        decisions = "decision" if back == 1 else "decisions"
        parts.append(f"took back the {decisions} about {counted(back, noun)}")
    text = " and ".join(parts)
    return f"{text[:1].upper()}{text[1:]}"


__all__ = ["CannotDecideValues", "decide_values", "preview_decisions", "shown"]
