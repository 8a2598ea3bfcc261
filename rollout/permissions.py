"""The three roles and what each may do, in all environments or in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, OuterRef, Q, QuerySet, Value

# Between a role and an environment in the name of a group.
SEPARATOR = ":"


PERMISSIONS = {
    "viewer": ("view_rollout",),
    "engineer": (
        *("view_rollout", "audit_rollout", "pause_rollout"),
        *("review_mapping", "repair_rows", "take_snapshot", "rehearse_rollout"),
        "tick_checklist",
    ),
    "lead": (
        *("view_rollout", "audit_rollout", "pause_rollout", "review_mapping", "repair_rows"),
        *("start_rollout", "roll_back_rollout", "waive_mismatch", "take_snapshot"),
        "manage_notifications",
        "end_blocker",
        *("rehearse_rollout", "restore_snapshot"),
        *("approve_rollout", "override_gate", "tick_checklist"),
    ),
}


def group_of(role: str, environment: str = "") -> str:
    """The name of the group that gives a role: in one environment, or in all of them."""
    return f"{role}{SEPARATOR}{environment}" if environment else role


def make_groups(*, using: str, **_: Any) -> None:
    """Make the groups of the roles with their permissions, leaving other permissions alone.

    A role's group of one environment holds no permission itself: it would be one everywhere.
    """
    from django.apps import apps
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission
    from django.db import router

    from rollout.journal.environments import configured

    if not router.allow_migrate_model(using, Group):
        # The users are in another database.
        return
    create_permissions(apps.get_app_config("rollout"), verbosity=0, using=using)
    groups = Group.objects.using(using)
    for role, codenames in PERMISSIONS.items():
        group, _created = groups.get_or_create(name=role)
        group.permissions.add(
            *Permission.objects.using(using).filter(
                content_type__app_label="rollout", codename__in=codenames
            )
        )
        for environment in configured():
            group, _created = groups.get_or_create(name=group_of(role, environment))
            group.permissions.clear()


AnyUser = AbstractBaseUser | AnonymousUser


Asked = Callable[[], str | None]


EVERYWHERE = None


_HERE, _KEPT = "_rollout_environment", "_rollout_environment_permissions"


class EnvironmentBackend(BaseBackend):
    """The group ``lead:staging`` gives in staging what the group ``lead`` gives everywhere.

    With an object, its ``environment`` counts; without, the one that the request is about
    (``within``). It logs nobody in. It also grants what groups give everywhere: before
    ``ModelBackend`` it costs most users one query.
    """

    def get_user(self, user_id: Any) -> Any:
        """The user of a session without a password, as tests have."""
        return ModelBackend().get_user(user_id)

    def has_perm(self, user_obj: AnyUser, perm: str, obj: Any = None) -> bool:
        if not user_obj.is_active or user_obj.is_anonymous:
            return False
        app, _, codename = perm.partition(".")
        given = _given(user_obj) if app == "rollout" else {}
        if codename in given.get(EVERYWHERE, ()):
            return True
        if given.keys() <= {EVERYWHERE}:
            return False
        if obj is None:
            asked: Asked | None = getattr(user_obj, _HERE, None)
            environment = asked() if asked else None
        else:
            environment = getattr(obj, "environment", None)
        return bool(environment) and codename in given.get(environment, ())


def within(user: AnyUser, environment: Asked) -> None:
    """Check this user's permissions in an environment from here on; None for all of them."""
    setattr(user, _HERE, environment)


def allowed_in(user: AnyUser, permission: str, environment: str) -> bool:
    """Whether a user has a permission of the app in an environment, or in all of them."""
    has_perm: Callable[[str], bool] = getattr(user, "has_perm")  # noqa: B009  not of every user
    before = getattr(user, _HERE, None)
    setattr(user, _HERE, lambda: environment)
    try:
        return has_perm(f"rollout.{permission}")
    finally:
        setattr(user, _HERE, before)


def people_with(permission: str, environment: str) -> QuerySet[Any]:
    """The active users who have a permission of the app in an environment, by name.

    As the backends of this app and of Django have it; a project's own backends are not asked.
    """
    roles = [role for role, codenames in PERMISSIONS.items() if permission in codenames]
    of_role = [group_of(role, where) for role in roles for where in ("", environment)]
    given = {"content_type__app_label": "rollout", "codename": permission}
    granted = Permission.objects.filter(**given)
    users = get_user_model()
    people = users._default_manager.filter(
        Q(is_superuser=True)
        | Q(user_permissions__in=granted)
        | Q(groups__permissions__in=granted)
        | Q(groups__name__in=of_role),
        is_active=True,
    )
    return people.distinct().order_by(users.USERNAME_FIELD)


def _given(user: AnyUser) -> dict[str | None, set[str]]:
    """Environment to the user's codenames there; read once for each user object."""
    kept: dict[str | None, set[str]] | None = getattr(user, _KEPT, None)
    if kept is None:
        kept = _read(user)
        setattr(user, _KEPT, kept)
    return kept


def _read(user: AnyUser) -> dict[str | None, set[str]]:
    """From one query: what the role in the name of each of the user's groups may do."""
    role = Func(OuterRef("name"), Value(SEPARATOR), Value(1), function="split_part")
    codenames = Permission.objects.filter(content_type__app_label="rollout", group__name=role)
    groups = Group.objects.filter(user=user.pk)
    given: dict[str | None, set[str]] = {}
    for name, codes in groups.values_list("name", ArraySubquery(codenames.values("codename"))):
        _role, separated, environment = name.partition(SEPARATOR)
        given.setdefault(environment if separated else EVERYWHERE, set()).update(codes)
    return given
