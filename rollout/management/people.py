"""The shell's answer to who may do what, and where."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User

from rollout.journal.environments import alias_of, configured
from rollout.logs.texts import visible
from rollout.management.verbs import AddVerb, Output
from rollout.permissions import PERMISSIONS, SEPARATOR, group_of


def add_verbs(add: AddVerb) -> None:
    sub = add("who", say_who, "List people by role and environment.", plan=False, as_json=True)
    sub.add_argument("--env", help="show only this environment")


def say_who(out: Output, env: str | None, as_json: bool) -> int:
    if env is not None:
        alias_of(env)
    return out.say(who(env=env, as_json=as_json))


def who(*, env: str | None, as_json: bool) -> str:
    """Each environment with its roles and who has them."""
    found = list(_roles(env))
    if as_json:
        return json.dumps(found, indent=2, ensure_ascii=False)
    lines = [
        f"{one['environment']:<16} {one['role']:<10} "
        f"{visible(', '.join(one['people'])) or 'nobody'}"
        for one in found
    ]
    return "\n".join([*lines, *_groups_of_nowhere()])


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


def _groups_of_nowhere() -> Iterator[str]:
    """A group of an environment that there is not, or that gives its permissions everywhere."""
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
