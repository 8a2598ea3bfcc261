"""Refuses to migrate a database whose running plan the project's own migrations would break, and
names fields of the project's models whose columns the next phase drops.

It asks the database: `manage.py migrate` does so, and `manage.py check --database ALIAS`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register

from rollout.checks.conversions import unreadable_expressions
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
from rollout.queries.project_models import dropped_fields


@register("rollout", Tags.database)
def check_models(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check the fields of models once phase 4 is next in an environment, or done."""
    return [
        message
        for name, alias in configured().items()
        if alias in (databases or ())
        for plan in _readable_plans()
        for message in _of_models(plan, name, alias)
    ]


def _of_models(plan: Plan, environment: str, alias: str) -> Iterator[CheckMessage]:
    progress = progress_of(plan.name, environment)
    if not progress.enforced:
        return
    fate = "has dropped" if progress.finished else "drops"
    for dropped in dropped_fields(plan, alias):
        yield Warning(
            f"{dropped} Phase 4 {fate} this column in {environment}; then every query of the model "
            "fails.",
            hint="Deploy a release without the field: "
            f"manage.py rollout models {plan.name} --phase 4 prints its model.",
            obj=plan.name,
            id=CheckId.FIELD_OF_DROPPED_COLUMN,
        )


@register("rollout", Tags.database)
def check_migrations(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check what is not applied yet in the environments of these databases."""
    try:
        return [
            message
            for name, alias in configured().items()
            if alias in (databases or ())
            for plan in _readable_plans()
            for message in _of_environment(plan, name)
        ]
    except NO_GRAPH:
        # Django reports it better.
        return []


def _readable_plans() -> list[Plan]:
    """Those whose columns can be named; the check of plans refuses the others."""
    return [plan for plan in plans if not any(unreadable_expressions(plan))]


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
