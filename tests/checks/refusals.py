"""Why a plan is refused when the project starts."""

from django.core import checks as django_checks

from rollout.checks.plans import check_plan
from rollout.plan import Plan


def problems(plan: Plan) -> list[tuple[str | None, str]]:
    errors = check_plan(plan)
    assert all(error.hint and error.level == django_checks.ERROR for error in errors)
    return [(error.id, error.msg) for error in errors]
