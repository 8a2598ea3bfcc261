"""System checks of the settings that decide who sees and who is told what."""

from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register("rollout")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check ``ROLLOUT`` for what would otherwise be found out at night."""
    configured: dict[str, Any] = getattr(settings, "ROLLOUT", {})
    return [*_networks(configured.get("METRICS", {}).get("NETWORKS", ()))]


def _networks(networks: Any) -> list[CheckMessage]:
    errors: list[CheckMessage] = []
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            errors.append(
                Error(
                    f"ROLLOUT['METRICS']['NETWORKS'] has no network in '{network}': {error}.",
                    hint="Write it as 10.0.0.0/8 or as one address.",
                    id="rollout.E040",
                )
            )
    return errors
