"""What a lookup's legacy values mean, read for one use, and what confirming them decides."""

from collections.abc import Iterable, Mapping, Sequence

from rollout.engine import mapping
from rollout.engine.mapping import Decision, Review, Value
from rollout.gates import newest_runs
from rollout.journal.audits import audited_texts
from rollout.journal.environments import target_of
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    MappingChange,
    PhaseRun,
    Rollout,
)
from rollout.plan import plans
from rollout.plan.plan import BACKFILL
from rollout.plan.translations import Lookup


def review_now(rollout: Rollout, lookup: Lookup) -> Review:
    """Where counting takes too long, of an audit or a sample. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    with target_of(rollout.environment).connect() as connection:
        counts = mapping.counts_of(connection, lookup, mapping.EVERY_TEXT)
        texts: Iterable[str] = ()
        if counts is None:
            audited = audited_texts(rollout, lookup)
            texts = audited.rows if audited else mapping.sample_of(connection, lookup)
        return mapping.review(connection, plan, lookup, counts, texts=list(texts))


def confirmations(values: Iterable[Value]) -> dict[str, Decision]:
    """By normal form, the decisions that leave each value what it means, if it means anything."""
    decisions = ((value.normal, value.confirmed) for value in values)
    return {form: decision for form, decision in decisions if decision is not None}


def uncorrected(
    rollout: Rollout,
    history: Sequence[MappingChange],
    runs: Mapping[int, PhaseRun] | None = None,
) -> list[MappingChange]:
    """The reviews whose rows have not followed: no correction has, no audit says so, and phase 2
    has not begun again since. ``runs`` are the newest of each phase, where they are known."""
    moving = [change for change in history if change.moves_rows and not change.is_followed]
    if not moving:
        return []
    clean = AuditReport.objects.filter(
        rollout=rollout, mode=AuditMode.FULL, tables=[], status=AuditStatus.CLEAN
    ).values_list("started_at", flat=True)[:1]
    backfill = (newest_runs(rollout) if runs is None else runs).get(BACKFILL)
    since = [*clean, *([backfill.created_at] if backfill else [])]
    return [change for change in moving if all(moment < change.at for moment in since)]
