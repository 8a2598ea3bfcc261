"""The project's settings for the app: ``ROLLOUT`` in Django's settings."""

from typing import TypeVar

from django.conf import settings

T = TypeVar("T")


def setting(name: str, default: T) -> T:
    """``ROLLOUT[name]``, or the default if the project does not set it."""
    value: T = getattr(settings, "ROLLOUT", {}).get(name, default)
    return value
