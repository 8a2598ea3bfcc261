"""The families of figures, and the dashboard and alerts that name them."""

import json
import re

import pytest

from config.home import ROOT
from rollout.health.families import FAMILIES

NAMED = re.compile(r"\brollout_[a-z_]+")


def real_name(name: str) -> str:
    for ending in ("_bucket", "_count", "_sum"):
        if name.removesuffix(ending) in FAMILIES:
            return name.removesuffix(ending)
    return name


@pytest.mark.parametrize("document", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_dashboard_and_alerts_name_only_figures_that_there_are(document: str) -> None:
    named = set(NAMED.findall((ROOT / "docs/monitoring" / document).read_text()))
    assert named
    assert {real_name(name) for name in named} <= set(FAMILIES)


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    dashboard = json.loads((ROOT / "docs/monitoring/grafana-dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or all(target["expr"] for target in panel["targets"])
