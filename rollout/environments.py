"""The environments of the project: a name for each database that plans are carried out in."""

from django.conf import settings
from django.db import connections

from rollout.engine.target import Target

DEFAULT = "production"


class UnknownEnvironment(LookupError):
    """There is no environment of that name."""


def environments() -> dict[str, str]:
    """Environment name to Django database alias, from ``ROLLOUT["ENVIRONMENTS"]``."""
    configured: dict[str, str] = getattr(settings, "ROLLOUT", {}).get(
        "ENVIRONMENTS", {DEFAULT: "default"}
    )
    return configured


def alias_of(environment: str) -> str:
    """The Django alias of an environment's database. Raises UnknownEnvironment."""
    try:
        return environments()[environment]
    except KeyError:
        known = ", ".join(sorted(environments()))
        raise UnknownEnvironment(
            f"There is no environment '{environment}'. Known environments: {known}."
        ) from None


def target_of(environment: str) -> Target:
    """The database of an environment, as the engine sees it."""
    settings_of = connections[alias_of(environment)].settings_dict
    parameters = {
        "dbname": settings_of["NAME"],
        "user": settings_of["USER"],
        "password": settings_of["PASSWORD"],
        "host": settings_of["HOST"],
        "port": str(settings_of["PORT"] or ""),
    }
    return Target({name: value for name, value in parameters.items() if value})
