"""Which release of the application a team deploys around a phase, and the models that it has."""

from dataclasses import dataclass

from rollout.journal.environments import UnknownEnvironment, alias_of
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE, EXPAND, PREPARE, Plan
from rollout.queries.django_models import models_source, phases_with_models
from rollout.queries.project_models import models_of

WHAT_TO_DEPLOY = {
    PREPARE: "Nothing to deploy: release A, which has the legacy columns alone, keeps running.",
    EXPAND: "Once the phase is done, release B may run beside A. It has both columns and reads the "
    "legacy ones. It is optional.",
    BACKFILL: "Nothing to deploy: triggers keep both columns in step, whichever a release writes.",
    ENFORCE: "Once the phase is done, deploy release C, which reads and writes the new columns, or "
    "D, which has no others (phase 4). Both may run beside A and B.",
    CONTRACT: "Before the phase starts, deploy release D, which has the new columns alone, and "
    "stop the last process of A, B and C. Once the phase is done, run D's migration.",
}
# Once a phase is done what comes before it is past.
DEPLOYED = {
    CONTRACT: "Only release D runs by now, which has the new columns alone. Run its migration, if "
    "you have not yet.",
}
NAMES = {EXPAND: "B", ENFORCE: "C", CONTRACT: "D"}


@dataclass(frozen=True)
class Release:
    """What to deploy, and the models of the release that a phase makes possible."""

    advice: str
    name: str = ""
    source: str = ""


def release_of(
    plan: Plan, number: int, environment: str, *, is_done: bool = False
) -> Release | None:
    """None for a plan whose phases change no column that models have."""
    with_models = phases_with_models(plan)
    if not with_models:
        return None
    advice = WHAT_TO_DEPLOY[number]
    release = Release(DEPLOYED.get(number, advice) if is_done else advice)
    if number not in with_models or number not in NAMES:
        return release
    try:
        alias = alias_of(environment)
    except UnknownEnvironment:
        return release
    if not any(models_of(table.label, alias) for table in plan.tables):
        return release
    return Release(release.advice, NAMES[number], models_source(plan, number, alias))
