"""The app: discovers the plans of the project, checks them, and installs what it needs."""

from typing import Any

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class RolloutConfig(AppConfig):
    name = "rollout"
    label = "rollout"
    verbose_name = "Rollout"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        for needed in ("django.contrib.auth", "django_htmx", "django_q"):
            if not apps.is_installed(needed):
                raise ImproperlyConfigured(
                    f"The app rollout needs '{needed}': add it to INSTALLED_APPS."
                )
        autodiscover_modules("rollout")
        # They register themselves.
        from rollout.checks import (
            migrations,  # noqa: F401
            plans,  # noqa: F401
            projects,  # noqa: F401
            settings,  # noqa: F401
        )
        from rollout.console.http import sessions  # noqa: F401
        from rollout.permissions import make_groups

        post_migrate.connect(make_groups, sender=self)
        post_migrate.connect(install_targets, sender=self)


def install_targets(*, using: str, **_: Any) -> None:
    """Make the engine's own schema in each environment's database as that is migrated."""
    from rollout.journal.environments import configured, target_of

    for name, alias in configured().items():
        if alias == using:
            with target_of(name).connect() as connection:
                from rollout.engine.target import install

                install(connection)
