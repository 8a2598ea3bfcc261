"""The three roles and what each may do."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User

from rollout.roles import PERMISSIONS, make_groups

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
