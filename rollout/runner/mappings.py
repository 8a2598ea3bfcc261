"""The review of mappings: people decide, by name, what legacy texts mean."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from rollout import gates
from rollout.engine import mapping
from rollout.engine.mapping import CannotDecide, Change, Decision, MappingLocked, Outcome
from rollout.gates.starts import refusal_beside_rollback
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.audits import audited_texts
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of
from rollout.logs.texts import counted
from rollout.models import MappingChange, Rollout
from rollout.plan.plan import CONTRACT, Plan
from rollout.plan.translations import Lookup
from rollout.queries.status import RolloutSummary

_CHANGES_LOGGED = 50


@dataclass(frozen=True)
class ReviewPreview:
    """What decisions would change now; or why they cannot be applied.

    ``problems`` says by normal form what is wrong with a decision, ``refusal`` what stands against
    any. ``seen`` is the digest of what is shown here: ``review_mapping`` takes it, and refuses
    when something else would come of the same decisions by then.
    """

    outcome: Outcome | None = None
    problems: dict[str, str] = field(default_factory=dict)
    refusal: str = ""

    @property
    def seen(self) -> str:
        return "" if self.outcome is None else _digest(self.outcome)

    @property
    def changes(self) -> list[Change]:
        return self.outcome.changes if self.outcome else []


def refusal_to_review(rollout: Rollout, summary: RolloutSummary | None = None) -> str:
    """Why no mapping can be reviewed now, and what to do about it; empty if one can.

    With its ``summary``, where a page has one, nothing is asked again.
    """
    active = active_run(rollout) if summary is None else summary.active
    if active is not None:
        return is_busy(active)
    runs = gates.newest_runs(rollout) if summary is None else summary.runs
    for number, run in runs.items():
        if number >= CONTRACT and not gates.is_not_started(run):
            return (
                f"Phase {number} has started and legacy values are archived. Roll it back to "
                "change the mapping."
            )
        if reason := refusal_beside_rollback(number, run):
            return reason
    return ""


def preview_review(
    rollout: Rollout, lookup: Lookup, decisions: Mapping[str, Decision], *, actor: Actor
) -> ReviewPreview:
    """What ``review_mapping`` would change now; changes nothing. Raises psycopg.Error."""
    refusal = refusal_to_review(rollout)
    if refusal:
        return ReviewPreview(refusal=refusal)
    try:
        return ReviewPreview(
            outcome=_decide(rollout, plan_of(rollout), lookup, decisions, actor, keep=False)
        )
    except CannotDecide as error:
        return ReviewPreview(problems=error.problems, refusal=str(error))
    except MappingLocked as error:
        return ReviewPreview(refusal=str(error))


def review_mapping(
    rollout: Rollout,
    lookup: Lookup,
    decisions: Mapping[str, Decision],
    *,
    actor: Actor,
    seen: str | None = None,
    source: str = "web",
) -> MappingChange:
    """Apply decisions in the actor's name. Raises Refused and psycopg.Error.

    ``seen`` is the digest of the preview that the actor has read; None skips the check.
    The target commits before the journal: should the journal fail then, the decisions still stand
    there with the reviewer's name.
    """
    plan = plan_of(rollout)
    with alone_with(rollout):
        preview = preview_review(rollout, lookup, decisions, actor=actor)
        if preview.refusal or preview.outcome is None:
            raise Refused(preview.refusal)
        if not decisions:
            raise Refused("No value is selected. Select the values to map first.")
        if not preview.outcome.decided and not preview.outcome.changes:
            raise Refused("No changes: every value already has this mapping.")
        if seen is not None and seen != preview.seen:
            raise Refused(
                "The data or the mapping changed since your preview. Preview the change again."
            )
        try:
            outcome = _decide(rollout, plan, lookup, decisions, actor, keep=True)
        except (MappingLocked, CannotDecide) as error:
            raise Refused(str(error)) from error
        change = MappingChange.objects.create(
            rollout=rollout,
            table=lookup.table.label,
            legacy_column=lookup.legacy,
            reviewer=actor.get_username(),
            at=by_the_database(),
            changes=[
                {
                    "legacy": value.legacy,
                    "before": value.before,
                    "after": value.after,
                    "rows": value.rows,
                    "moved": value.moved,
                    "unmapped": value.unmapped,
                    "by_default": value.normal in outcome.taken_back,
                }
                for value in outcome.changes
            ],
            decided=outcome.decided,
            earlier=[[form, d.name, d.by_default] for form, d in outcome.earlier.items()],
            mapped=outcome.mapped,
            rows_affected=outcome.rows_affected,
            rows_changed=outcome.rows_changed,
        )
        _record(change, outcome, source)
    return change


def _decide(
    rollout: Rollout,
    plan: Plan,
    lookup: Lookup,
    decisions: Mapping[str, Decision],
    actor: Actor,
    *,
    keep: bool,
) -> Outcome:
    with target_of(rollout.environment).connect() as connection:
        try:
            audited = audited_texts(rollout, lookup)
            return mapping.decide(
                *(connection, plan, lookup, decisions),
                reviewer=actor.get_username(),
                keep=keep,
                texts=audited.rows if audited else (),
            )
        except psycopg.DataError as error:
            raise CannotDecide({"": f"The database rejected it: {error}"}) from error


def _digest(outcome: Outcome) -> str:
    """A digest of everything but the numbers of rows, which change meanwhile."""
    content = json.dumps(
        [
            [[c.legacy, c.before, c.after, c.moved, c.unmapped] for c in outcome.changes],
            *(outcome.made, outcome.renamed, outcome.retired, outcome.decided),
        ]
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _record(change: MappingChange, outcome: Outcome, source: str) -> None:
    forms = outcome.decided or len({value.normal for value in outcome.changes})
    texts = counted(forms, "value")
    rows = outcome.rows_affected
    follow = (
        "No existing rows to update."
        if rows == 0
        else "Counting the existing rows to update timed out."
        if rows is None
        else f"{counted(rows, 'existing row')} to update."
    )
    activity_log.record(
        Event.MAPPING_REVIEWED,
        f"Updated the mapping of {texts} in {change.table}.{change.legacy_column}. {follow}"
        if outcome.changes
        else f"Confirmed the mapping of {texts} in {change.table}.{change.legacy_column}.",
        on=change,
        actor=change.reviewer,
        source=source,
        changes=change.changes[:_CHANGES_LOGGED],
        changes_in_total=len(change.changes),
        rows_made=outcome.made,
        rows_renamed=[list(pair) for pair in outcome.renamed],
        rows_retired=outcome.retired,
    )
