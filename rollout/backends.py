"""Roles in one environment: a lead of staging is not a lead of production."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, OuterRef, Value

from rollout.roles import SEPARATOR

AnyUser = AbstractBaseUser | AnonymousUser
Asked = Callable[[], str | None]
EVERYWHERE = None
_HERE, _KEPT = "_rollout_environment", "_rollout_environment_permissions"


class EnvironmentBackend(BaseBackend):
    """The group ``lead:staging`` gives in staging what the group ``lead`` gives everywhere.

    Asked with an object, the object's ``environment`` counts; asked without, the one that the
    request is about (``within``). It logs nobody in. It tells what groups give everywhere, too, so
    that it may stand before ``ModelBackend``: one query is enough for most people then.
    """

    def get_user(self, user_id: Any) -> Any:
        """Of a session that began without a password, as one of a test does."""
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
    """From here on this user is asked for permissions in an environment, None for in general."""
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


def _given(user: AnyUser) -> dict[str | None, set[str]]:
    """Environment to the codenames that a user has there; read once a user object."""
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
