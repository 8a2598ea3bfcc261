"""System checks of the settings in ``ROLLOUT``."""

from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from rollout.checks.ids import CheckId
from rollout.conf import SETTINGS
from rollout.journal.rehearsal_servers import SETTING, rehearsal_server
from rollout.notifications.kinds import KINDS
from rollout.notifications.webhooks import http_allowed, webhooks


@register("rollout")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check ``ROLLOUT`` for mistakes that would show only at run time."""
    configured: dict[str, Any] = getattr(settings, "ROLLOUT", {})
    return [
        *_unknown(configured),
        *_networks(configured.get("METRICS", {}).get("NETWORKS", ())),
        *_webhooks(),
        *_servers(),
        *_protected(configured.get("ENVIRONMENTS", {})),
        *_storage(configured.get("SNAPSHOTS", {})),
    ]


def _unknown(configured: dict[str, Any]) -> list[CheckMessage]:
    return [
        Warning(
            f"ROLLOUT['{name}'] is not a setting: nothing reads it.",
            hint=f"Remove it, or write one of: {', '.join(SETTINGS)}.",
            id=CheckId.UNKNOWN_SETTING,
        )
        for name in sorted(set(configured) - set(SETTINGS))
    ]


def _protected(environments: Any) -> list[CheckMessage]:
    return [
        Error(
            f"ROLLOUT['ENVIRONMENTS']['{name}']['PROTECTED'] is {value['PROTECTED']!r}.",
            hint="Set True for data of an application, False for data that can be lost.",
            id=CheckId.WRONG_PROTECTED,
        )
        for name, value in environments.items()
        if isinstance(value, dict) and not isinstance(value.get("PROTECTED", True), bool)
    ]


def _storage(snapshots: Any) -> list[CheckMessage]:
    """A dump has all data of the tables, and the default storage may be public."""
    named = snapshots.get("STORAGE")
    known = ", ".join(sorted(settings.STORAGES))
    if named is None:
        problem = "is not set: the default storage may be public"
    elif named not in settings.STORAGES:
        problem = f"names the storage '{named}', which is not in STORAGES ({known})"
    else:
        return []
    return [
        Error(
            f"ROLLOUT['SNAPSHOTS']['STORAGE'] {problem}.",
            hint=(
                "Set it to an alias of STORAGES that only the console's processes can read; name "
                "'default' too if you mean it."
            ),
            id=CheckId.NO_STORAGE_OF_SNAPSHOTS,
        )
    ]


def _networks(networks: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            errors.append(
                Error(
                    f"ROLLOUT['METRICS']['NETWORKS'] contains '{network}', which is not a network: "
                    f"{error}.",
                    hint="Write a network such as 10.0.0.0/8, or one address.",
                    id=CheckId.WRONG_NETWORK,
                )
            )
    return errors


def _servers() -> list[CheckMessage]:
    try:
        server = rehearsal_server()
    except ImproperlyConfigured as problem:
        return [
            Error(
                f"{problem}.",
                hint="Write an alias of DATABASES, or host=… user=… dbname=…, or postgresql://….",
                id=CheckId.WRONG_REHEARSAL_SERVER,
            )
        ]
    if server is not None and connections[server.alias].vendor != "postgresql":
        return [
            Error(
                f"{SETTING} names '{server.alias}', which is not PostgreSQL.",
                hint="Name a PostgreSQL database.",
                id=CheckId.REHEARSAL_SERVER_OF_OTHER_KIND,
            )
        ]
    return []


def _webhooks() -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for hook in webhooks().values():
        problem = hook.problem(http_allowed=http_allowed())
        if unknown := sorted(set(hook.kinds) - set(KINDS)):
            problem = f"lists unknown events: {', '.join(unknown)}; known are {', '.join(KINDS)}"
        if problem:
            errors.append(
                Error(
                    f"The webhook '{hook.name}' {problem}.",
                    hint="Correct it in ROLLOUT['NOTIFICATIONS'].",
                    id=CheckId.WRONG_WEBHOOK,
                )
            )
        elif not hook.secret:
            errors.append(
                Warning(
                    f"The webhook '{hook.name}' is unsigned: it has no SECRET.",
                    hint="Set SECRET, unless the receiver cannot verify signatures.",
                    id=CheckId.WEBHOOK_UNSIGNED,
                )
            )
    return errors
