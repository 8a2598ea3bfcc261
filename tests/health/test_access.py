"""Who may read the figures for Prometheus."""

from typing import Any

import pytest
from django.test import Client

from rollout.health import access

TOKEN = "a long token"


class TestAccess:
    @pytest.mark.parametrize(
        ("rules", "address", "header", "let_in"),
        [
            (access.Access(), "127.0.0.1", "", False),
            (access.Access(TOKEN), "10.0.0.1", f"Bearer {TOKEN}", True),
            (access.Access(TOKEN), "10.0.0.1", f"bearer  {TOKEN}", True),
            (access.Access(TOKEN), "10.0.0.1", "Bearer another", False),
            (access.Access(TOKEN), "10.0.0.1", TOKEN, False),
            (access.Access(TOKEN), "10.0.0.1", "", False),
            (access.Access(), "10.0.0.1", "Bearer ", False),
            (access.Access(networks=["10.0.0.0/8"]), "10.1.2.3", "", True),
            (access.Access(networks=["10.0.0.0/8"]), "11.1.2.3", "", False),
            (access.Access(networks=["::1"]), "::1", "", True),
            (access.Access(networks=["0.0.0.0/0"]), "", "", False),
            (access.Access(TOKEN, ["10.0.0.0/8"]), "10.1.2.3", "", True),
        ],
    )
    def test_a_token_or_a_network_lets_in_and_neither_lets_nobody_in(
        self, rules: access.Access, address: str, header: str, let_in: bool
    ) -> None:
        assert (rules.refusal(address=address, header=header) == "") is let_in

    @pytest.mark.parametrize(
        ("configured", "status"), [({}, 403), ({"TOKEN": TOKEN}, 401), ({"NETWORKS": ["::2"]}, 403)]
    )
    def test_a_refused_scraper_reads_how_to_get_access(
        self, settings: Any, configured: dict[str, Any], status: int
    ) -> None:
        settings.ROLLOUT = {**settings.ROLLOUT, "METRICS": configured}
        answer = Client().get("/metrics")
        assert answer.status_code == status
        assert b"ROLLOUT['METRICS']" in answer.content
        assert TOKEN.encode() not in answer.content
