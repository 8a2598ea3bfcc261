"""The three roles and what each may do."""

from typing import Any

PERMISSIONS = {
    "viewer": ("view_rollout",),
    "engineer": (
        *("view_rollout", "audit_rollout", "pause_rollout"),
        *("review_mapping", "repair_rows", "take_snapshot"),
    ),
    "lead": (
        *("view_rollout", "audit_rollout", "pause_rollout", "review_mapping", "repair_rows"),
        *("start_rollout", "roll_back_rollout", "waive_mismatch", "take_snapshot"),
        "manage_notifications",
        "end_blocker",
    ),
}


def make_groups(*, using: str, **_: Any) -> None:
    """Make the groups of the roles with their permissions, leaving other permissions alone."""
    from django.apps import apps
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission

    create_permissions(apps.get_app_config("rollout"), verbosity=0, using=using)
    for role, codenames in PERMISSIONS.items():
        group, _created = Group.objects.using(using).get_or_create(name=role)
        group.permissions.add(
            *Permission.objects.using(using).filter(
                content_type__app_label="rollout", codename__in=codenames
            )
        )
