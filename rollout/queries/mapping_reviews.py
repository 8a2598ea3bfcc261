"""What a lookup's legacy values mean, read for one use, and what confirming them decides."""

from collections.abc import Iterable

from rollout.engine import mapping
from rollout.engine.mapping import Decision, Review, Value
from rollout.journal.audits import audited_texts
from rollout.journal.environments import target_of
from rollout.models import Rollout
from rollout.plan import plans
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
