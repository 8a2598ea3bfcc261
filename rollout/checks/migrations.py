"""Refuses to migrate a database whose running plan the project's own migrations would break.

It asks the database: `manage.py migrate` does so, and `manage.py check --database ALIAS`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register

from rollout.checks.ids import CheckId
from rollout.journal.environments import configured
from rollout.plan import plans
from rollout.plan.plan import Plan
from rollout.queries.migrations import (
    NO_GRAPH,
    STATE_ALONE,
    clashes_of,
    progress_of,
)


@register("rollout", Tags.database)
def check_migrations(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check what is not applied yet in the environments of these databases."""
    try:
        return [
            message
            for name, alias in configured().items()
            if alias in (databases or ())
            for plan in plans
            for message in _of_environment(plan, name)
        ]
    except NO_GRAPH:
        # Django reports it better.
        return []


def _of_environment(plan: Plan, environment: str) -> Iterator[CheckMessage]:
    begun = progress_of(plan.name, environment).expanding_since is not None
    for clash in clashes_of(plan, environment):
        if clash.applied is not None:
            continue
        message = f"{clash} The plan in {environment} is not finished."
        if begun and clash.is_certain:
            yield Error(message, hint=STATE_ALONE, obj=plan.name, id=CheckId.MIGRATION_BREAKS_PLAN)
        else:
            yield Warning(message, hint=STATE_ALONE, obj=plan.name, id=CheckId.MIGRATION_MEETS_PLAN)
