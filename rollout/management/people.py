"""The shell's verb for people and their roles."""

from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User

from rollout.journal.environments import alias_of, configured
from rollout.logs.texts import visible
from rollout.management.verbs import AddVerb, Output
from rollout.permissions import PERMISSIONS, SEPARATOR, group_of


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "who",
        who,
        "List people by role and environment.",
        example="who --env production",
        plan=False,
        as_json=True,
    )
    sub.add_argument("--env", help="show only this environment")


def who(out: Output, env: str | None, as_json: bool) -> int:
    """Each environment with its roles and the people who have them."""
    if env is not None:
        alias_of(env)
    roles = list(_roles(env))
    if as_json:
        return out.say_json(roles)
    lines = [
        f"{role['environment']:<16} {role['role']:<10} "
        f"{visible(', '.join(role['people'])) or 'nobody'}"
        for role in roles
    ]
    return out.say("\n".join([*lines, *_misplaced_groups()]))


def _roles(env: str | None) -> Iterator[dict[str, Any]]:
    people = get_user_model()._default_manager.filter(is_active=True)
    everywhere = _names(people.filter(is_superuser=True))
    for environment in configured():
        if env not in (None, environment):
            continue
        if everywhere:
            yield {"environment": environment, "role": "superuser", "people": everywhere}
        for role in PERMISSIONS:
            groups = [group_of(role), group_of(role, environment)]
            having = _names(people.filter(groups__name__in=groups).distinct())
            yield {"environment": environment, "role": role, "people": having}


def _names(people: Any) -> list[str]:
    return [user.get_username() for user in people.order_by(User.USERNAME_FIELD)]


def _misplaced_groups() -> Iterator[str]:
    """Groups of an unknown environment, and those whose permissions apply everywhere."""
    for group in Group.objects.filter(name__contains=SEPARATOR).order_by("name"):
        if group.name.split(SEPARATOR, 1)[1] not in configured():
            yield (
                f"Group {visible(group.name)} refers to an unknown environment. Rename or delete "
                "it."
            )
        elif group.permissions.exists():
            yield (
                f"Group {visible(group.name)} has permissions of its own, which apply in every "
                "environment. Run manage.py migrate to remove them."
            )
