"""The three roles and what each may do, in all environments or in one."""

from typing import Any

SEPARATOR = ":"
"""Between a role and an environment in the name of a group."""

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

    from rollout.environments import configured

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
