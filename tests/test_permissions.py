"""The three roles and what each may do."""

import io
import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management.base import OutputWrapper

from rollout.management.people import who
from rollout.management.verbs import Output
from rollout.models import Rollout
from rollout.permissions import PERMISSIONS, allowed_in, make_groups

MAY = {
    "viewer": {"view"},
    "engineer": {"view", "audit", "pause"},
    "lead": {"view", "audit", "pause", "start", "roll_back"},
}
EVERYTHING = {"view", "audit", "pause", "start", "roll_back"}


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_what_it_is_for_and_nothing_else(db: None, role: str) -> None:
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get(name=role))
    may = {verb for verb in EVERYTHING if user.has_perm(f"rollout.{verb}_rollout")}
    assert may == MAY[role]
    assert not user.has_perm("rollout.change_rollout")
    assert not user.has_perm("rollout.delete_logentry")


def test_a_user_without_a_role_may_nothing(db: None) -> None:
    user = User.objects.create_user("ada")
    assert not any(user.has_perm(f"rollout.{verb}_rollout") for verb in EVERYTHING)


def test_every_permission_named_by_a_role_exists() -> None:
    model = apps.get_model("rollout", "Rollout")
    known = {codename for codename, _ in model._meta.permissions} | {"view_rollout"}
    assert {name for names in PERMISSIONS.values() for name in names} == known


def test_making_the_groups_again_keeps_what_somebody_added(db: None) -> None:
    lead = Group.objects.get(name="lead")
    extra = Permission.objects.get(codename="add_user")
    lead.permissions.add(extra)
    make_groups(using="default")
    assert extra in lead.permissions.all()
    assert lead.permissions.count() == len(PERMISSIONS["lead"]) + 1


def test_a_role_in_one_environment_gives_what_the_role_gives_there_alone(db: None) -> None:
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get_or_create(name="lead:staging")[0])
    staging, production = Rollout(environment="staging"), Rollout(environment="production")
    may = {verb for verb in EVERYTHING if user.has_perm(f"rollout.{verb}_rollout", staging)}
    assert may == MAY["lead"]
    assert not any(user.has_perm(f"rollout.{verb}_rollout", production) for verb in EVERYTHING)
    assert not any(user.has_perm(f"rollout.{verb}_rollout") for verb in EVERYTHING)
    assert not user.has_perm("auth.add_user", staging)
    user.is_active = False
    assert not user.has_perm("rollout.view_rollout", staging)


@pytest.mark.parametrize("group", ["lead", "lead:production"])
def test_permissions_of_a_group_are_read_once(
    db: None, django_assert_num_queries: Any, group: str
) -> None:
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get(name=group))
    with django_assert_num_queries(1):
        assert all(allowed_in(user, f"{verb}_rollout", "production") for verb in EVERYTHING)


def test_a_group_that_names_no_environment_after_its_role_gives_nothing(db: None) -> None:
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.create(name="lead:"))
    assert not any(user.has_perm(f"rollout.{verb}_rollout") for verb in EVERYTHING)
    assert not any(allowed_in(user, f"{verb}_rollout", "production") for verb in EVERYTHING)


def test_a_permission_revoked_from_a_role_is_revoked_in_each_environment(db: None) -> None:
    start = Permission.objects.get(codename="start_rollout")
    Group.objects.get(name="lead").permissions.remove(start)
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get(name="lead:production"))
    assert allowed_in(user, "roll_back_rollout", "production")
    assert not allowed_in(user, "start_rollout", "production")


def answer_of_who(env: str | None = None, *, as_json: bool = False) -> str:
    printed = OutputWrapper(io.StringIO())
    who(Output(printed, printed, printed), env, as_json)
    return str(printed.getvalue())


def test_a_permission_put_on_a_group_of_one_environment_goes_with_the_next_migrate(
    db: None,
) -> None:
    group = Group.objects.get(name="lead:production")
    group.permissions.add(Permission.objects.get(codename="start_rollout"))
    assert "which apply in every environment" in answer_of_who()
    make_groups(using="default")
    assert not group.permissions.exists()


def test_the_shell_tells_who_has_which_role_where(db: None) -> None:
    for name, group in (("ada", "lead"), ("grace", "lead:production"), ("eve", "lead:staging")):
        user = User.objects.create_user(name)
        user.groups.add(Group.objects.get_or_create(name=group)[0])
    User.objects.create_superuser("root")
    people_of = {
        entry["role"]: entry["people"]
        for entry in json.loads(answer_of_who("production", as_json=True))
    }
    nobody: list[str] = []
    assert people_of == {
        "superuser": ["root"],
        "viewer": nobody,
        "engineer": nobody,
        "lead": ["ada", "grace"],
    }
    assert "Group lead:staging refers to an unknown environment." in answer_of_who()
