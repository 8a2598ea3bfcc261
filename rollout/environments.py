"""The environments of the project: a name for each database that plans are carried out in."""

from django.conf import settings
from django.db import connections

from rollout.engine.target import Target

DEFAULT = "production"


class UnknownEnvironment(LookupError):
    """There is no environment of that name."""


def environments() -> dict[str, str]:
    """Environment name to Django database alias, from ``ROLLOUT["ENVIRONMENTS"]``.

    There an environment is an alias, or {"DATABASE": alias, "AUDIT_DATABASE": alias of a replica
    that audits read}.
    """
    return {
        name: value if isinstance(value, str) else value["DATABASE"]
        for name, value in _configured().items()
    }


def _configured() -> dict[str, str | dict[str, str]]:
    configured: dict[str, str | dict[str, str]] = getattr(settings, "ROLLOUT", {}).get(
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
    return _target(alias_of(environment))


def audit_target_of(environment: str) -> tuple[Target, str]:
    """The database that audits of an environment read, and its alias."""
    alias = alias_of(environment)
    configured = _configured()[environment]
    if isinstance(configured, dict):
        alias = configured.get("AUDIT_DATABASE", alias)
    return _target(alias), alias


def _target(alias: str) -> Target:
    settings_of = connections[alias].settings_dict
    parameters = {
        "dbname": settings_of["NAME"],
        "user": settings_of["USER"],
        "password": settings_of["PASSWORD"],
        "host": settings_of["HOST"],
        "port": str(settings_of["PORT"] or ""),
    }
    return Target({name: value for name, value in parameters.items() if value})
