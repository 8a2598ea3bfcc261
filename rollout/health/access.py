"""Access to metrics: by token, or from an allowed network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from django.utils.crypto import constant_time_compare

CLOSED = "Metrics are disabled. Set ROLLOUT['METRICS']['TOKEN'] or ROLLOUT['METRICS']['NETWORKS']."
REFUSED = (
    "Unauthorized. Send the token of ROLLOUT['METRICS'] as 'Authorization: Bearer …', or connect "
    "from an allowed network."
)


@dataclass(frozen=True)
class Access:
    """Either is enough; without both, nobody has access."""

    token: str = ""
    networks: Sequence[str] = ()

    def refusal(self, *, address: str, header: str) -> str:
        """Why a client is refused; empty if it is not."""
        if not self.token and not self.networks:
            return CLOSED
        kind, _, given = header.partition(" ")
        knows = bool(self.token) and kind.lower() == "bearer"
        if knows and constant_time_compare(given.strip(), self.token):
            return ""
        if self._is_near(address):
            return ""
        return REFUSED

    def _is_near(self, address: str) -> bool:
        try:
            client = ip_address(address)
        except ValueError:
            # A Unix socket has no address: clients behind a proxy need a token.
            return False
        return any(client in ip_network(network, strict=False) for network in self.networks)


def of_settings(configured: Mapping[str, Any]) -> Access:
    """``ROLLOUT["METRICS"]``: {"TOKEN": text, "NETWORKS": ["10.0.0.0/8", ...]}."""
    return Access(configured.get("TOKEN", ""), tuple(configured.get("NETWORKS", ())))
